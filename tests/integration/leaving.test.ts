import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { deferred, eventually, type Deferred } from '../support/wait.js';
import { demoChannel, userChannel } from '../support/channels.js';
import { RawClient } from '../support/raw.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
let clients: RawClient[] = [];
let authorizing: Deferred<boolean>[] = [];
beforeEach(() => {
	clients = [];
	authorizing = [];
});
afterEach(async () => {
	vi.useRealTimers();
	for (const client of clients) client.leave();
	await world.close();
});

async function enter(): Promise<RawClient> {
	const client = await RawClient.open(world.server.url);
	clients.push(client);
	return client;
}

const channelParams = (_event: unknown, id: string): string =>
	id.startsWith('user:') ? id.slice(5) : '';

const hesitate = (): Promise<boolean> => {
	const answer = deferred<boolean>();
	authorizing.push(answer);
	return answer.promise;
};

/** Channels whose `authorize` answers when the test says so. */
const hesitant = {
	demo: { channel: demoChannel, authorize: hesitate },
	user: { channel: userChannel, channelParams, authorize: hesitate }
};

const prompt = {
	demo: { channel: demoChannel, authorize: (): boolean | Promise<boolean> => true },
	user: { channel: userChannel, channelParams, authorize: (): boolean | Promise<boolean> => true }
};

/** Sockets that clients have open. */
let connections = 0;

/** Nobody is left, and nothing that was there for somebody. */
async function expectNothing(): Promise<void> {
	await eventually(
		() => {
			const { streams, hub } = world.realtime.stats();
			const { feeds, sources } = hub;
			const upstream = sources.inngest!;
			return streams === 0 && feeds === 0 && upstream.sockets === 0 && upstream.state === 'idle';
		},
		() => `nothing to be left: ${JSON.stringify(world.realtime.stats())}`
	);
	await eventually(() => world.engine.sockets === 0 && world.engine.subscriptions === 0);
}

async function start(channels: typeof prompt): Promise<void> {
	world = await startWorld({ channels, onFailure: () => {}, lingerMs: 0 });
	connections = 0;
	world.server.server.on('connection', (socket) => {
		connections++;
		socket.on('close', () => connections--);
	});
}

test('a client that leaves while its body is sent leaves nothing', async () => {
	await start(hesitant);
	const client = await enter();
	client.post({ channel: 'demo' }, { bytes: 5 });
	await eventually(() => connections === 1);
	client.leave();
	await expectNothing();
	expect(authorizing).toHaveLength(0);
});

test.each([
	['one channel', { channel: 'demo' }],
	['several channels', { subscriptions: [{ channel: 'demo' }, { channel: 'user:alice' }] }]
])('a client that leaves while authorize runs for %s leaves nothing', async (_, body) => {
	await start(hesitant);
	const client = await enter();
	client.post(body);
	await eventually(() => authorizing.length > 0);
	client.leave();
	await eventually(() => connections === 0);
	for (const answer of authorizing) answer.resolve(true);
	await expectNothing();
});

test('channels that nobody waits for any more are not authorized', async () => {
	await start(hesitant);
	const client = await enter();
	const subscriptions = Array.from({ length: 20 }, (_, n) => ({ channel: `user:${n}` }));
	client.post({ subscriptions });
	await eventually(() => authorizing.length === 10);
	client.leave();
	await eventually(() => world.realtime.stats().streams === 0);
	for (const answer of authorizing) answer.resolve(true);
	await expectNothing();
	expect(authorizing).toHaveLength(10);
});

test('a client that leaves while the token is asked for leaves nothing', async () => {
	await start(prompt);
	const tokens = deferred();
	const { fetch: realFetch } = globalThis;
	const asking = vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
		if (String(url).includes('/realtime/token')) await tokens.promise;
		return realFetch(url, init);
	});
	const api = (world.inngest as unknown as { inngestApi: { fetch?: typeof fetch } }).inngestApi;
	api.fetch = globalThis.fetch;
	const client = await enter();
	client.post({ channel: 'demo' });
	await eventually(() => asking.mock.calls.length === 1);
	expect(world.realtime.stats()).toMatchObject({ streams: 1, hub: { feeds: 1 } });
	client.leave();
	await eventually(() => world.realtime.stats().streams === 0);
	tokens.resolve();
	await expectNothing();
	asking.mockRestore();
});

test('a client that leaves while Inngest confirms its topics leaves nothing', async () => {
	await start(prompt);
	world.engine.holdPongs(true);
	const client = await enter();
	client.post({ channel: 'demo' });
	await eventually(() => world.engine.sockets === 1);
	client.leave();
	await expectNothing();
	world.engine.holdPongs(false);
	const stream = await world.open({ channel: 'demo' });
	await stream.connected();
});

test('a client that leaves while a channel is added to the socket takes only that one away', async () => {
	await start(prompt);
	const witness = await world.open({ channel: 'demo' });
	await witness.connected();
	world.engine.holdPongs(true);
	const client = await enter();
	client.post({ channel: 'user:alice' });
	await eventually(() => world.realtime.stats().hub.feeds === 2);
	client.leave();
	await eventually(() => world.realtime.stats().hub.feeds === 1);
	world.engine.holdPongs(false);
	await eventually(() => world.engine.subscriptions === 2);
	await world.publish('demo', 'message', { message: 'still here' });
	await witness.when(() => witness.texts.length === 1);
	expect(witness.statuses).toEqual(['connecting', 'connected']);
	witness.close();
	await expectNothing();
});

test('a client that leaves in the middle of a replay leaves nothing', async () => {
	await start(prompt);
	const witness = await world.open({ channel: 'demo', topics: ['admin-message'] });
	await witness.connected();
	const lastEventId = witness.lastId!;
	for (let n = 0; n < 500; n++) {
		await world.publish('demo', 'message', { message: 'x'.repeat(20_000) });
	}
	await eventually(() => world.realtime.stats().hub.messages === 500);
	const client = await enter();
	client.stall();
	client.post({ channel: 'demo', lastEventId });
	await eventually(() => world.realtime.stats().streams === 2);
	client.leave();
	await eventually(() => world.realtime.stats().streams === 1);
	witness.close();
	await expectNothing();
	expect(world.realtime.stats().hub.replay).toEqual({ events: 0, bytes: 0 });
});

test('a client that leaves while a message waits for its check leaves nothing', async () => {
	const checking = deferred<boolean>();
	let checks = 0;
	world = await startWorld({
		channels: {
			demo: {
				channel: demoChannel,
				authorize: () => true,
				reauthorize: () => {
					checks++;
					return checking.promise;
				}
			}
		},
		reauthorizeOnEachMessage: true,
		lingerMs: 0
	});
	const stream = await world.open({ channel: 'demo' });
	await stream.connected();
	for (const message of ['1', '2']) await world.publish('demo', 'message', { message });
	await eventually(() => checks === 1);
	stream.close();
	await expectNothing();
	checking.resolve(true);
	await new Promise(setImmediate);
	expect(checks).toBe(1);
});

test('a response that nobody reads costs nothing', async () => {
	world = await startWorld(
		{ channels: prompt, lingerMs: 0 },
		{ around: async (_event, next) => (await next(), new Response('something else')) }
	);
	const response = await fetch(world.server.url, {
		method: 'POST',
		body: JSON.stringify({ channel: 'demo' })
	});
	expect(await response.text()).toBe('something else');
	await expectNothing();
});

test('after everybody left no interval runs, and after close() no signal is listened to', async () => {
	vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
	await start(prompt);
	const events = ['SIGTERM', 'SIGINT', 'sveltekit:shutdown'];
	const listening = (): number[] => events.map((event) => process.listenerCount(event));
	expect(listening()).toEqual([1, 1, 1]);
	const idle = vi.getTimerCount();
	const streams = await Promise.all(
		Array.from({ length: 10 }, () =>
			world.open({ subscriptions: [{ channel: 'demo' }, { channel: 'user:alice' }] })
		)
	);
	for (const stream of streams) await stream.connected('user:alice');
	expect(vi.getTimerCount()).toBeGreaterThan(idle);
	for (const stream of streams) stream.close();
	await expectNothing();
	expect(vi.getTimerCount()).toBe(idle);
	world.realtime.close();
	// Not as many as before, because tests before this one may have left some.
	expect(listening()).toEqual([0, 0, 0]);
});
