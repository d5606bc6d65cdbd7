import { afterEach, expect, test } from 'vitest';
import { demoChannel, userChannel } from '../support/channels.js';
import { SharedLog } from '../support/store.js';
import type { SseReader } from '../support/sse.js';
import { eventually } from '../support/wait.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(() => world.close());

const channels = { demo: { channel: demoChannel, authorize: () => true } };

async function connect(body: object = {}): Promise<SseReader> {
	const stream = await world.open({ channel: 'demo', ...body });
	await stream.connected();
	return stream;
}

async function leave(stream: SseReader): Promise<void> {
	stream.close();
	await eventually(() => world.realtime.stats().streams === 0);
}

test('a feed is kept warm after its last reader, then ended with its socket', async () => {
	world = await startWorld({ channels, lingerMs: 150 });
	const began = performance.now();
	const first = await connect();
	await leave(first);
	expect(world.realtime.stats()).toMatchObject({
		hub: { feeds: 1, sources: { inngest: { sockets: 1 } } }
	});
	await world.publish('demo', 'message', { message: 'meanwhile' });
	await eventually(() => world.realtime.stats().hub.replay.events === 1);
	await eventually(() => world.realtime.stats().hub.feeds === 0);
	expect(performance.now() - began).toBeGreaterThan(150);
	expect(world.realtime.stats()).toMatchObject({ hub: { replay: { events: 0, bytes: 0 } } });
	await eventually(() => world.engine.sockets === 0);
	expect(world.realtime.stats().hub.sources.inngest).toEqual({ state: 'idle', sockets: 0 });
});

test('a reader that comes back in time finds the same feed', async () => {
	world = await startWorld({ channels, lingerMs: 300 });
	const first = await connect();
	await leave(first);
	await world.publish('demo', 'message', { message: 'meanwhile' });
	const second = await connect({ lastEventId: first.lastId });
	expect(second.texts).toEqual(['meanwhile']);
	// The first reader's leaving must not end the feed under the second.
	const stays = performance.now() + 400;
	await eventually(() => performance.now() > stays);
	expect(world.realtime.stats().hub.feeds).toBe(1);
	await world.publish('demo', 'message', { message: 'still here' });
	await second.when(() => second.texts.length === 2);
});

test('without lingering a feed ends with its last reader, and a later reader starts it again', async () => {
	world = await startWorld({ channels, lingerMs: 0 });
	for (let turn = 0; turn < 3; turn++) {
		const [one, other] = [await connect(), await connect()];
		expect(world.engine.sockets).toBe(1);
		one.close();
		await eventually(() => world.realtime.stats().streams === 1);
		expect(world.realtime.stats().hub.feeds).toBe(1);
		await world.publish('demo', 'message', { message: 'hello' });
		await other.when(() => other.texts.length === 1);
		await leave(other);
		expect(world.realtime.stats().hub.feeds).toBe(0);
		await eventually(() => world.engine.sockets === 0 && world.engine.subscriptions === 0);
	}
});

test('many first readers at once cause one subscription', async () => {
	world = await startWorld({ channels });
	await Promise.all(Array.from({ length: 30 }, () => connect()));
	expect(world.realtime.stats()).toMatchObject({ streams: 30, hub: { feeds: 1 } });
	expect(world.engine.sockets).toBe(1);
	// One per topic of the channel.
	expect(world.engine.subscriptions).toBe(2);
});

test('a reader that comes while a feed is being ended gets a feed that lives', async () => {
	world = await startWorld({ channels, lingerMs: 0 });
	const readers: SseReader[] = [];
	for (let turn = 0; turn < 10; turn++) {
		const reader = await connect();
		reader.close();
		readers.push(await world.open({ channel: 'demo' }));
	}
	for (const reader of readers) await reader.connected();
	await world.publish('demo', 'message', { message: 'all' });
	for (const reader of readers) {
		await reader.when(() => reader.texts.length === 1);
		expect(reader.texts).toEqual(['all']);
	}
	expect(world.engine.sockets).toBe(1);
});

test('only so many feeds are kept warm: the one that was left first is let go', async () => {
	world = await startWorld({
		channels: {
			user: {
				channel: userChannel,
				channelParams: (_event, id) => id.slice('user:'.length),
				authorize: () => true
			}
		},
		maxWarmFeeds: 2
	});
	const cursors = new Map<string, string>();
	const visit = async (channel: string): Promise<string[]> => {
		const stream = await connect({ channel, lastEventId: cursors.get(channel) });
		cursors.set(channel, stream.lastId!);
		await leave(stream);
		return stream.frames.map(({ event }) => event);
	};
	for (const channel of ['user:1', 'user:2', 'user:1', 'user:3']) await visit(channel);
	expect(world.realtime.stats().hub.feeds).toBe(2);
	// The second was left before the first was left again.
	expect(await visit('user:1')).not.toContain('resync');
	expect(await visit('user:3')).not.toContain('resync');
	expect(await visit('user:2')).toContain('resync');
	// Feeds with readers do not count.
	const streams = await Promise.all([4, 5, 6].map((n) => connect({ channel: `user:${n}` })));
	expect(world.realtime.stats().hub.feeds).toBe(5);
	for (const stream of streams) stream.close();
	await eventually(() => world.realtime.stats().hub.feeds === 2);
	await eventually(() => world.engine.subscriptions === 2);
});

test('a feed that comes back after it was let go continues its log in a shared store', async () => {
	const log = new SharedLog();
	world = await startWorld({ channels, replay: log.connect(), lingerMs: 0 });
	const first = await connect();
	await world.publish('demo', 'message', { message: '1' });
	await first.when(() => first.texts.length === 1);
	await leave(first);
	await eventually(() => world.realtime.stats().hub.feeds === 0);
	const second = await connect();
	await world.publish('demo', 'message', { message: '2' });
	await second.when(() => second.texts.length === 1);
	const messages = log.events('demo').filter(({ kind }) => kind === 'message');
	expect(messages.map(({ payload }) => JSON.parse(payload).data.message)).toEqual(['1', '2']);
});
