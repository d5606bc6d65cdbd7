import { transforms, Walker } from '@sveltejs/sv-utils';
import type { CallExpression, Node, ObjectExpression } from 'estree';
import type { App } from './app.js';
import { handlerPath, type EventNames } from './event.js';

/**
 * Adds the handler of an event to `events` of `createRealtime`. Does not change the text if the handler
 * exists already, or if nothing calls `createRealtime` with an object.
 */
export function registerEvent(
	app: App,
	endpoint: string,
	names: EventNames
): (text: string) => string {
	const handler = `${names.variable}Handler`;
	return transforms.script(({ ast, content, js }) => {
		const options = optionsOf(ast);
		if (!options || content.includes(handler)) return false;
		const events = js.object.property(options, {
			name: 'events',
			fallback: js.object.create({})
		});
		if (events.type !== 'ObjectExpression') return false;
		js.object.property(events, {
			name: names.variable,
			fallback: js.variables.createIdentifier(handler)
		});
		js.imports.addNamed(ast, {
			imports: [handler],
			from: app.specifier(endpoint, handlerPath(app, names))
		});
	});
}

/** The object that `createRealtime` or `createRealtimeEndpoint` is called with. */
function optionsOf(ast: Node): ObjectExpression | undefined {
	let options: ObjectExpression | undefined;
	Walker.walk(ast, null, {
		CallExpression({ callee, arguments: [argument] }: CallExpression, { next }: { next(): void }) {
			const isEndpoint =
				callee.type === 'Identifier' && /^createRealtime(Endpoint)?$/.test(callee.name);
			if (isEndpoint && argument?.type === 'ObjectExpression') options ??= argument;
			next();
		}
	});
	return options;
}
