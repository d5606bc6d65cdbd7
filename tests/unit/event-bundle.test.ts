import { svelte } from '@sveltejs/vite-plugin-svelte';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { build, type Rolldown } from 'vite';

const LIB = join(import.meta.dirname, '../../src/lib');

/** Files of an app, by name. */
const FILES: Record<string, string> = {
	'virtual:events': `
		import { defineEvent } from '${LIB}/client/index.ts';
		const schema = { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } };
		export const createOrder = defineEvent('orders/create', { schema });`,
	'virtual:server': `
		import { createRealtime } from '${LIB}/server/index.ts';
		import { createOrder } from 'virtual:events';
		export const realtime = (inngest, channels) => createRealtime({ inngest, channels, events: { createOrder: {
			event: createOrder, authorize: () => 'WHO_MAY', run: () => 'WHAT_IT_DOES'
		} } });`,
	'virtual:page': `
		import { getRealtimeBusSend } from '${LIB}/client/index.ts';
		import { createOrder } from 'virtual:events';
		export const send = () => getRealtimeBusSend(createOrder);`
};

async function bundle(entry: string): Promise<{ code: string; modules: string[] }> {
	const result = await build({
		configFile: false,
		logLevel: 'silent',
		plugins: [
			svelte({ configFile: false }),
			{
				name: 'app',
				resolveId: (source) => (source in FILES ? source : null),
				load: (id) => FILES[id]
			}
		],
		build: {
			write: false,
			rolldownOptions: {
				input: entry,
				external: /^(svelte|\$app|node:|ws|zod)/,
				preserveEntrySignatures: 'strict'
			}
		}
	});
	const chunks = (result as Rolldown.RolldownOutput).output.filter(({ type }) => type === 'chunk');
	return {
		code: chunks.map((chunk) => (chunk as Rolldown.OutputChunk).code).join('\n'),
		modules: chunks.flatMap((chunk) => (chunk as Rolldown.OutputChunk).moduleIds)
	};
}

test('a built page has the definition of an event, and nothing of its handler', async () => {
	const page = await bundle('virtual:page');
	expect(page.code).toContain('orders/create');
	expect(page.code).not.toMatch(/WHO_MAY|WHAT_IT_DOES/);
	expect(page.modules.join()).not.toMatch(/lib\/server/);
	const server = await bundle('virtual:server');
	expect(server.code).toMatch(/WHO_MAY[^]*WHAT_IT_DOES/);
	expect(server.modules.join()).not.toMatch(/lib\/client\/(hooks|bus|transport)/);
});
