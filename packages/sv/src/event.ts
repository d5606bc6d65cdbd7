import type { App } from './app.js';

/** The names of an event in code. */
export interface EventNames {
	/** The name for the page and Inngest: `orders/create`. */
	name: string;
	/** The name in code: `ordersCreate`. */
	variable: string;
	/** The name of its files: `orders-create`. */
	file: string;
}

/** @returns undefined if it is not a valid name. */
export function eventNames(name: string): EventNames | undefined {
	if (!/^[a-z][a-z\d]*(?:[/._-][a-z\d]+)*$/i.test(name)) return undefined;
	const words = name.split(/[/._-]/);
	const capital = (word: string): string => word[0]!.toUpperCase() + word.slice(1);
	const [first, ...others] = words as [string, ...string[]];
	return {
		name,
		variable: first[0]!.toLowerCase() + first.slice(1) + others.map(capital).join(''),
		file: words.join('-').toLowerCase()
	};
}

/** Module of an event's handler. */
export function handlerPath({ lib, language }: App, { file }: EventNames): string {
	return `${lib}/server/${file}.${language}`;
}

/** An event's definition, its handler, and a test of it, by path. */
export function eventFiles(app: App, names: EventNames): Record<string, string> {
	const { lib, language, sdk, channels } = app;
	const { name, variable, file } = names;
	const definition = `${lib}/realtime/${file}.${language}`;
	const handler = handlerPath(app, names);
	const test = handler.replace(/\.(?=[jt]s$)/, '.test.');
	const importOf = (imported: string, to: string): string =>
		`import { ${imported} } from '${app.specifier(handler, to)}';`;
	const target = sdk === 3 ? 'demoChannel().message' : 'demoChannel.message';
	const isTyped = language === 'ts';
	const type = isTyped
		? `RealtimeEventConfig<typeof ${variable}, RealtimeHandlerContext>`
		: `import('sveltekit-inngest/server').RealtimeEventConfig<typeof ${variable}, import('sveltekit-inngest/server').RealtimeHandlerContext>`;

	return {
		[definition]: `import { defineEvent } from 'sveltekit-inngest';
import { z } from 'zod';

/** The page sends it, the server handles it. This file contains no server code. */
export const ${variable} = defineEvent('${name}', {
	schema: z.object({ message: z.string().min(1) }),
	result: z.object({ id: z.string() })
});
`,
		[handler]: `${importOf('demoChannel', channels)}
${importOf(variable, definition)}
${isTyped ? "import type { RealtimeEventConfig, RealtimeHandlerContext } from 'sveltekit-inngest/server';\n" : ''}
${isTyped ? '' : `/** @type {${type}} */\n`}export const ${variable}Handler${isTyped ? `: ${type}` : ''} = {
	event: ${variable},
	// Who may send it? Use \`locals\`, which your hooks have set.
	authorize: () => true,
	// Runs once for each id, however often the page sends it.
	async run({ id, emit }, { message }) {
		await emit(${target}, { message: \`${name}: \${message}\` });
		return { id };
	}
};
`,
		[test]: `${importOf('demoChannel', channels)}
${importOf(variable, definition)}
${importOf(`${variable}Handler`, handler)}
import { createTestRealtime } from 'sveltekit-inngest/testing';
import { expect, test } from 'vitest';

const realtime = createTestRealtime({
	channels: { demo: { channel: demoChannel, authorize: () => true } },
	events: { ${variable}: ${variable}Handler }
});

test('${name} tells everyone, and answers with its id', async () => {
	const { id, status, result, emitted } = await realtime.send(${variable}, { message: 'tea' });
	expect({ status, result }).toEqual({ status: 'done', result: { id } });
	expect(emitted.map(({ data }) => data)).toEqual([{ message: '${name}: tea' }]);
});

test('${name} refuses data that does not match its schema', async () => {
	const { httpStatus, issues } = await realtime.send(${variable}, { message: '' });
	expect(httpStatus).toBe(422);
	expect(issues?.[0]?.path).toEqual(['message']);
});
`
	};
}
