import { svelte } from '@sveltejs/vite-plugin-svelte';
import { build, type Rolldown } from 'vite';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const ENTRY = fileURLToPath(new URL('../../src/lib/client/index.ts', import.meta.url));
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
	'getRealtimeBusTopicStream',
	'getRealtimeBusRun'
];

// Otherwise Svelte compiles for development.
beforeAll(() => void vi.stubEnv('NODE_ENV', 'production'));
afterAll(() => void vi.unstubAllEnvs());

/** What an app that uses these names pays: bytes, minified and gzipped, and the modules behind them. */
async function pay(names: string[]): Promise<{ bytes: number; modules: string }> {
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
		build: { write: false, rollupOptions: { input: id, external: /^svelte(\/|$)/ } }
	});
	const [chunk] = (result as Rolldown.RolldownOutput).output;
	// Svelte's modules are the app's own; so is the way to them.
	const code = chunk.code.replace(/^(import[^;]*;)+/, '');
	return { bytes: gzipSync(code, { level: 9 }).length, modules: chunk.moduleIds.join() };
}

test('the manager and the hooks of a simple page cost at most 6 KB, Svelte aside', async () => {
	const { bytes, modules } = await pay(SIMPLE);
	expect(bytes).toBeGreaterThan(3 * 1024);
	expect(bytes).toBeLessThanOrEqual(6 * 1024);
	expect(modules).not.toMatch(/hooks\/(messages|stream|run|channel)/);
});

test('all hooks together cost at most 9 KB, and nothing of the server comes along', async () => {
	const { bytes, modules } = await pay(ALL);
	expect(bytes).toBeGreaterThan(6 * 1024);
	expect(bytes).toBeLessThanOrEqual(9 * 1024);
	expect(modules).not.toMatch(/lib\/(server|dev)|node_modules\/(zod|ws|inngest|@inngest)\//);
});
