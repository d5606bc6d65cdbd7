// What an app pays for the client: npm run size
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';

const ENTRY = fileURLToPath(new URL('../src/lib/client/index.ts', import.meta.url));
const SIMPLE = [
	'RealtimeManager',
	'getRealtimeBus',
	'getRealtimeBusState',
	'getRealtimeBusTopicJson',
	'getRealtimeBusTopicState'
];
const ALL = [
	...SIMPLE,
	'getRealtimeBusChannel',
	'getRealtimeBusTopicMessages',
	'getRealtimeBusTopicRows',
	'getRealtimeBusTopicStream',
	'getRealtimeBusRun'
];

/** Apps, by what they import, and the bytes that each may cost. */
export const APPS = {
	simple: { title: 'the manager and the hooks of a simple page', names: SIMPLE, limit: 7.5 * 1024 },
	all: { title: 'every hook that reads', names: ALL, limit: 10 * 1024 },
	send: {
		title: 'a simple page that sends as well',
		names: [...SIMPLE, 'getRealtimeBusSend', 'defineEvent'],
		limit: 9.5 * 1024
	}
};

/**
 * What an app that uses these names pays: bytes, minified and gzipped, without Svelte, and the modules
 * behind them.
 * @param {string[]} names
 * @returns {Promise<{ bytes: number, modules: string[] }>}
 */
export async function pay(names) {
	const id = 'virtual:app';
	const app = `import { ${names} } from ${JSON.stringify(ENTRY)}; console.log(${names});`;
	const result = await build({
		configFile: false,
		logLevel: 'silent',
		plugins: [
			svelte({ configFile: false }),
			{
				name: 'app',
				resolveId: (source) => (source === id ? id : null),
				load: (source) => (source === id ? app : null)
			}
		],
		build: { write: false, rollupOptions: { input: id, external: /^(svelte|\$app)(\/|$)/ } }
	});
	const [chunk] = /** @type {import('vite').Rolldown.RolldownOutput} */ (result).output;
	// Svelte's and SvelteKit's modules are the app's own; so is the way to them.
	const code = chunk.code.replace(/^(import[^;]*;)+/, '');
	return { bytes: gzipSync(code, { level: 9 }).length, modules: chunk.moduleIds };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	// Otherwise Svelte compiles for development.
	process.env.NODE_ENV = 'production';
	for (const { title, names, limit } of Object.values(APPS)) {
		const { bytes } = await pay(names);
		console.log(`${(bytes / 1024).toFixed(2)} KB of ${limit / 1024} KB: ${title}`);
		if (bytes > limit) process.exitCode = 1;
	}
}
