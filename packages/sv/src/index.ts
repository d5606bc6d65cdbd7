import { color, isKit3, libSubpathImports, transforms } from '@sveltejs/sv-utils';
import { defineAddon, defineAddonOptions } from 'sv';
import manifest from '../package.json' with { type: 'json' };
import { readApp, type App } from './app.js';
import { registerEvent } from './endpoint.js';
import { eventFiles, eventNames } from './event.js';
import { baseFiles } from './files.js';

const options = defineAddonOptions()
	.add('inngest', {
		question: 'Which version of inngest?',
		type: 'select',
		default: '4',
		options: [
			{ value: '4', label: '4' },
			{ value: '3', label: '3', hint: 'with @inngest/realtime' }
		]
	})
	.add('event', {
		question: `Add an event that pages send? ${color.optional('(its name, such as orders/create, or none)')}`,
		type: 'string',
		default: 'none',
		validate(name = '') {
			if (isNone(name) || eventNames(name)) return undefined;
			return 'Use words of letters and digits, with / . - or _ between them: orders/create';
		}
	})
	.build();

export default defineAddon({
	id: '@sveltekit-inngest/sv',
	shortDescription: 'live data from Inngest functions',
	homepage: 'https://www.npmjs.com/package/sveltekit-inngest',
	options,

	setup({ isKit, unsupported }) {
		if (!isKit) unsupported('Requires SvelteKit');
	},

	run(workspace) {
		const { sv, cancel, file, directory, dependencyVersion } = workspace;
		const { event } = workspace.options;
		const names = isNone(event) ? undefined : eventNames(event);
		if (!isNone(event) && !names) return cancel(`"${event}" is not a valid name for an event.`);

		const app = readApp(workspace, workspace.options.inngest);
		const packages: Record<string, string> = {
			// The two are released together.
			'sveltekit-inngest': `^${manifest.version}`,
			...(app.sdk === 3
				? { inngest: '^3.54.0', '@inngest/realtime': '^0.4.6' }
				: { inngest: '^4.1.0' }),
			zod: '^4.0.0'
		};
		for (const [name, version] of Object.entries(packages)) {
			if (!dependencyVersion(name)) sv.dependency(name, version);
		}
		if (isKit3(dependencyVersion('@sveltejs/kit'))) {
			sv.file(
				file.package,
				transforms.json(({ data }) => {
					if (data.imports?.['#lib/*']) return false;
					data.imports = { ...libSubpathImports(directory.lib), ...data.imports };
				})
			);
		}
		sv.file(
			file.viteConfig,
			transforms.script(({ ast, content, js }) => {
				if (content.includes('inngestDev')) return false;
				js.imports.addNamed(ast, { imports: ['inngestDev'], from: 'sveltekit-inngest/vite' });
				js.vite.addPlugin(ast, { code: 'inngestDev()', mode: 'prepend' });
			})
		);
		write(baseFiles(app));

		if (!names) return;
		write(eventFiles(app, names));
		const { endpoint } = app;
		if (endpoint) sv.file(endpoint, registerEvent(app, endpoint, names));
		if (!dependencyVersion('vitest')) sv.devDependency('vitest', '^4.1.0');
		sv.file(
			file.package,
			transforms.json(({ data }) => {
				if (data.scripts?.test) return false;
				data.scripts = { ...data.scripts, test: 'vitest run' };
			})
		);

		/** Writes files that do not exist yet. */
		function write(files: Record<string, string>): void {
			for (const [path, text] of Object.entries(files)) {
				if (!app.has(path)) sv.file(path, () => text);
			}
		}
	},

	nextSteps(workspace) {
		const app = readApp(workspace, workspace.options.inngest);
		return [
			`Run the app and open ${color.route('/realtime')}`,
			`Decide in ${color.path(app.endpoint ?? 'the endpoint')} who may read and send: look for ${color.command('authorize')}`,
			`Choose an adapter whose server stays running: ${color.command('npx sv add sveltekit-adapter=adapter:node')}`,
			...missing(app)
		];
	}
});

/** Existing files that were not changed, so that the reader has to do it. */
function missing(app: App): string[] {
	const { endpoint, functionsRoute } = app;
	const steps: string[] = [];
	if (endpoint && !app.read(endpoint).includes('demoMessage')) {
		steps.push(
			`${color.path(endpoint)} existed already: add demoChannel to its channels and demoMessage to its events to use the page`
		);
	}
	if (functionsRoute && !app.read(functionsRoute).includes('demoFunction')) {
		steps.push(`${color.path(functionsRoute)} existed already: add demoFunction to its functions`);
	}
	return steps;
}

function isNone(event: string): boolean {
	return event === '' || event === 'none';
}
