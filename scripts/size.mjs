// What an app pays for the client: npm run size
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';

const LIB = fileURLToPath(new URL('../src/lib/client/', import.meta.url));
const ENTRY = `${LIB}index.ts`;
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

/** What a page loads where tabs share a stream, besides the manager, and the bytes that it may have. */
export const SHARING = { title: 'tabs that share a stream, on demand', limit: 2 * 1024 };

/**
 * What an app that uses these names pays: bytes, minified and gzipped, without Svelte and without what is
 * loaded on demand, and the modules behind them.
 * @param {string[]} names
 * @returns {Promise<{ bytes: number, modules: string[] }>}
 */
export function pay(names) {
	const app = `import { ${names} } from ${JSON.stringify(ENTRY)}; console.log(${names});`;
	return measure(app, (id) => /^\.\/tabs\//.test(id));
}

/**
 * What a page loads besides where tabs share a stream.
 * @returns {Promise<{ bytes: number, modules: string[] }>}
 */
export function paySharing() {
	return measure(`export { share } from ${JSON.stringify(`${LIB}tabs/share.js`)};`, (id) =>
		/^\.\.\/(?!tabs)|^\.\.\/\.\.\//.test(id)
	);
}

/**
 * @param {string} app
 * @param {(id: string) => boolean} isElsewhere Whether an import is not counted.
 * @returns {Promise<{ bytes: number, modules: string[] }>}
 */
async function measure(app, isElsewhere) {
	const id = 'virtual:app';
	const result = await build({
		configFile: false,
		logLevel: 'silent',
		plugins: [
			svelte({ configFile: false }),
			{
				name: 'app',
				resolveId: (source) => (source === id ? id : null),
				load: (source) => (source === id ? app : null)
			},
			{
				name: 'preload',
				enforce: 'pre',
				// Vite's way to load code on demand is in every app of SvelteKit already.
				resolveId: (source) =>
					source.includes('preload-helper') ? { id: '$app/preload', external: true } : null
			}
		],
		build: {
			write: false,
			rollupOptions: {
				input: id,
				preserveEntrySignatures: 'strict',
				external: (id) => /^(svelte|\$app)(\/|$)/.test(id) || isElsewhere(id)
			}
		}
	});
	const [chunk] = /** @type {import('vite').Rolldown.RolldownOutput} */ (result).output;
	// Svelte's and SvelteKit's modules are the app's own; so is the way to them.
	const code = chunk.code.replace(/^(import[^;]*;)+/, '');
	return { bytes: gzipSync(code, { level: 9 }).length, modules: chunk.moduleIds };
}

/** What each entry weighs, without packages of others, and the bytes that it may weigh. */
export const ENTRY_LIMITS = {
	'sveltekit-inngest': { source: 'client/index.ts', limit: 18 * 1024 },
	'sveltekit-inngest/bus': { source: 'client/standalone.ts', limit: 12 * 1024 },
	'sveltekit-inngest/inspector': { source: 'inspector/index.ts', limit: 5 * 1024 },
	'sveltekit-inngest/server': { source: 'server/index.ts', limit: 66 * 1024 },
	'sveltekit-inngest/redis': { source: 'redis/index.ts', limit: 13 * 1024 },
	'sveltekit-inngest/postgres': { source: 'postgres/index.ts', limit: 20 * 1024 },
	'sveltekit-inngest/prometheus': { source: 'prometheus/index.ts', limit: 2 * 1024 },
	'sveltekit-inngest/cloudflare': { source: 'cloudflare/index.ts', limit: 33 * 1024 },
	'sveltekit-inngest/sync': { source: 'sync/index.ts', limit: 21 * 1024 },
	'sveltekit-inngest/sync/server': { source: 'sync/server/index.ts', limit: 8 * 1024 },
	'sveltekit-inngest/trpc': { source: 'trpc/index.ts', limit: 4 * 1024 },
	'sveltekit-inngest/testing': { source: 'testing/index.ts', limit: 85 * 1024 },
	'sveltekit-inngest/vite': { source: 'dev/vite.ts', limit: 28 * 1024 },
	'sveltekit-inngest/dev': { source: 'dev/index.ts', limit: 26 * 1024 }
};

/**
 * What a whole entry weighs: bytes, minified and gzipped, without packages of others.
 * @param {string} source below src/lib
 * @returns {Promise<number>}
 */
export async function weigh(source) {
	const result = await build({
		configFile: false,
		logLevel: 'silent',
		plugins: [svelte({ configFile: false })],
		build: {
			write: false,
			minify: true,
			target: 'esnext',
			lib: {
				entry: fileURLToPath(new URL(`../src/lib/${source}`, import.meta.url)),
				formats: ['es']
			},
			rollupOptions: { external: (id) => !/^[./\0]/.test(id) }
		}
	});
	const outputs = /** @type {import('vite').Rolldown.RolldownOutput[]} */ (result);
	const code = outputs
		.flatMap(({ output }) => output)
		.map((chunk) => (chunk.type === 'chunk' ? chunk.code : ''))
		.join('');
	return gzipSync(code, { level: 9 }).length;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	// Otherwise Svelte compiles for development.
	process.env.NODE_ENV = 'production';
	for (const { title, names, limit } of Object.values(APPS)) {
		const { bytes } = await pay(names);
		console.log(`${(bytes / 1024).toFixed(2)} KB of ${limit / 1024} KB: ${title}`);
		if (bytes > limit) process.exitCode = 1;
	}
	const { bytes } = await paySharing();
	console.log(`${(bytes / 1024).toFixed(2)} KB of ${SHARING.limit / 1024} KB: ${SHARING.title}`);
	if (bytes > SHARING.limit) process.exitCode = 1;
	for (const [name, { source, limit }] of Object.entries(ENTRY_LIMITS)) {
		const bytes = await weigh(source);
		console.log(`${(bytes / 1024).toFixed(1)} KB of ${limit / 1024} KB: all of ${name}`);
		if (bytes > limit) process.exitCode = 1;
	}
}
