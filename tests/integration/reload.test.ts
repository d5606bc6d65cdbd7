import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { startInngestDev, type InngestDev } from '../../src/lib/dev/index.js';
import { createRealtime, type Realtime } from '../../src/lib/server/index.js';
import { demoChannel } from '../support/channels.js';
import { serve, type TestServer } from '../support/server.js';
import { openStream, type SseReader } from '../support/sse.js';
import { eventually } from '../support/wait.js';
import { inngestAt } from '../support/world.js';

// As in a build; whether this is development is then said by the plugin alone.
vi.mock('esm-env', () => ({ DEV: false, BROWSER: false, NODE: true }));

const LOADS = Symbol.for('sveltekit-inngest.loads');
const RELOAD = Symbol.for('sveltekit-inngest.reload');
const globals = globalThis as unknown as { [LOADS]: number | undefined; [RELOAD]: Set<() => void> };

let engine: InngestDev;
const open: { realtime: Realtime; server: TestServer }[] = [];
const readers: SseReader[] = [];
beforeEach(async () => {
	globals[LOADS] = 1;
	engine = await startInngestDev();
});
afterEach(async () => {
	globals[LOADS] = undefined;
	for (const reader of readers.splice(0)) reader.close();
	for (const { realtime, server } of open.splice(0)) {
		realtime.close();
		await server.close();
	}
	await engine.close();
});

/** Loads the module of a route: a client and an endpoint of its own. */
async function load(routeId: string, authorize: () => boolean): Promise<(typeof open)[number]> {
	const realtime = createRealtime({
		inngest: inngestAt(engine.url),
		channels: { demo: { channel: demoChannel, authorize } }
	});
	const loaded = { realtime, server: await serve(realtime, { routeId }) };
	open.push(loaded);
	return loaded;
}

async function connect({ server }: (typeof open)[number]): Promise<SseReader> {
	const reader = await openStream(server.url, { channel: 'demo' });
	readers.push(reader);
	await reader.connected();
	return reader;
}

test('the first request to a reloaded route closes what the load before left behind', async () => {
	const before = await load('/api/reloaded', () => true);
	const stream = await connect(before);
	globals[LOADS]!++;
	const after = await load('/api/reloaded', () => true);
	expect(before.realtime.stats().streams).toBe(1);
	await connect(after);
	await stream.end();
	expect(stream.statuses).toEqual(['connecting', 'connected']);
	expect(before.realtime.stats()).toMatchObject({
		streams: 0,
		hub: { sources: { inngest: { sockets: 0 } } }
	});
	await eventually(() => engine.sockets === 1);
});

test('other routes keep their streams', async () => {
	const other = await load('/api/other', () => true);
	const stream = await connect(other);
	await connect(await load('/api/reloaded-too', () => true));
	globals[LOADS]!++;
	await connect(await load('/api/reloaded-too', () => true));
	expect(other.realtime.stats().streams).toBe(1);
	expect(stream.ended).toBe(false);
});

test('two endpoints behind one route go on side by side until both are reloaded', async () => {
	const before = [await load('/api/tenants', () => true), await load('/api/tenants', () => true)];
	const streams = [await connect(before[0]!), await connect(before[1]!), await connect(before[0]!)];
	expect(streams.map(({ ended }) => ended)).toEqual([false, false, false]);
	globals[LOADS]!++;
	await connect(await load('/api/tenants', () => true));
	for (const stream of streams) await stream.end();
	for (const { realtime } of before) expect(realtime.stats().hub.sources.inngest!.sockets).toBe(0);
});

test('a change of server code ends streams, which come back to whatever code there is then', async () => {
	let allowed = true;
	const endpoint = await load('/api/changed', () => allowed);
	const stream = await connect(endpoint);
	for (const reload of globals[RELOAD]) reload();
	await stream.end();
	expect(stream.statuses).toEqual(['connecting', 'connected']);
	await connect(endpoint);
	allowed = false;
	await expect(connect(endpoint)).rejects.toThrow('403');
});

test('where this is no development nothing is replaced', async () => {
	globals[LOADS] = undefined;
	const before = await load('/api/production', () => true);
	const stream = await connect(before);
	await connect(await load('/api/production', () => true));
	expect(stream.ended).toBe(false);
});
