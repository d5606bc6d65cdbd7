import { afterEach, expect, test, vi } from 'vitest';
import { compareCursors } from '../../src/lib/protocol/cursor.js';
import { demoChannel, userChannel } from '../support/channels.js';
import type { SseReader } from '../support/sse.js';
import { eventually } from '../support/wait.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(async () => {
	vi.useRealTimers();
	await world.close();
});

const channels = {
	demo: { channel: demoChannel, authorize: () => true },
	user: {
		channel: userChannel,
		channelParams: (_event: unknown, id: string) => (id.startsWith('user:') ? id.slice(5) : ''),
		authorize: () => true
	}
};

/** Fakes the clock of heartbeats; sockets and everything else go on as they do. */
const fakeHeartbeats = (): unknown =>
	vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance', 'Date'] });

const connections = (stream: SseReader): number =>
	stream.statuses.filter((status) => status === 'connected').length;

test('a stream says that it is connecting, with the interval of its ticks, then connected', async () => {
	world = await startWorld({ channels, healthCheck: { intervalMs: 20_000 } });
	const before = Date.now();
	const stream = await world.open({ channel: 'demo' });
	await stream.connected();
	const [connecting, connected] = stream.health();
	expect(connecting).toEqual({
		ok: false,
		status: 'connecting',
		channel: 'demo',
		ts: expect.any(Number) as number,
		intervalMs: 20_000
	});
	expect(connected).toEqual({
		ok: true,
		status: 'connected',
		channel: 'demo',
		ts: expect.any(Number) as number,
		cursor: expect.stringMatching(/^[\w.]+-0$/) as string
	});
	expect(connecting!.ts).toBeGreaterThanOrEqual(before);
	expect(connected!.ts).toBeLessThanOrEqual(Date.now());
});

test('the default interval is 15 seconds', async () => {
	world = await startWorld({ channels });
	const stream = await world.open({ channel: 'demo' });
	await stream.connected();
	expect(stream.health()[0]!.intervalMs).toBe(15_000);
});

test('each channel of a stream has ticks of its own; only a single one has its cursor as id', async () => {
	world = await startWorld({ channels, healthCheck: { intervalMs: 60 } });
	const single = await world.open({ channel: 'demo' });
	const several = await world.open({
		subscriptions: [{ channel: 'demo' }, { channel: 'user:alice' }]
	});
	const ticks = (stream: SseReader, channel: string) =>
		stream.frames.filter(
			({ event, data }) => event === 'health' && data.channel === channel && 'cursor' in data
		);
	await single.when(() => ticks(single, 'demo').length >= 3);
	await several.when(() =>
		['demo', 'user:alice'].every((channel) => ticks(several, channel).length >= 3)
	);
	for (const { id, data } of ticks(single, 'demo')) {
		expect(data).toMatchObject({ ok: true, status: 'connected', cursor: id });
	}
	for (const { id } of several.frames) expect(id).toBeUndefined();
	expect(several.health('user:alice')[0]).toMatchObject({ intervalMs: 60 });
});

test('a tick carries the position of its channel, also of messages on other topics', async () => {
	world = await startWorld({ channels, healthCheck: { intervalMs: 60 } });
	const stream = await world.open({ channel: 'demo', topics: ['message'] });
	await stream.connected();
	const began = stream.health().at(-1)!.cursor!;
	for (const message of ['a', 'b']) await world.publish('demo', 'admin-message', { message });
	await stream.until(
		({ event, data }) =>
			event === 'health' && data.cursor !== undefined && compareCursors(data.cursor, began) === 2,
		'a tick that has moved on'
	);
	expect(stream.messages).toEqual([]);
	const lastEventId = stream.lastId!;
	stream.close();
	await world.publish('demo', 'admin-message', { message: 'c' });
	const again = await world.open({ channel: 'demo', lastEventId });
	await again.connected();
	expect(again.texts).toEqual(['c']);
});

test('with ticks off no interval is announced, and a comment every 30 s keeps the stream alive', async () => {
	fakeHeartbeats();
	world = await startWorld({ channels, healthCheck: { enabled: false, intervalMs: 10 } });
	const stream = await world.open({ channel: 'demo' });
	await stream.connected();
	expect(stream.health()[0]).not.toHaveProperty('intervalMs');
	const frames = stream.frames.length;
	vi.advanceTimersByTime(26_000);
	const { chunks } = world.realtime.stats();
	vi.advanceTimersByTime(7_100);
	expect(world.realtime.stats().chunks).toBe(chunks + 1);
	await stream.when(() => stream.comments.length === 1);
	expect(stream.frames).toHaveLength(frames);
});

test('streams that began together do not tick together', async () => {
	fakeHeartbeats();
	world = await startWorld({ channels, healthCheck: { intervalMs: 10_000 } });
	const streams = await Promise.all(
		Array.from({ length: 30 }, () => world.open({ channel: 'demo' }))
	);
	for (const stream of streams) await stream.connected();
	let { chunks } = world.realtime.stats();
	vi.advanceTimersByTime(8_900);
	expect(world.realtime.stats().chunks).toBe(chunks);
	let slices = 0;
	for (let step = 0; step < 45; step++) {
		vi.advanceTimersByTime(50);
		const now = world.realtime.stats().chunks;
		if (now > chunks) slices++;
		expect(now - chunks).toBeLessThan(15);
		chunks = now;
	}
	for (const stream of streams) await stream.when(() => connections(stream) === 2);
	expect(slices).toBeGreaterThan(5);
});

test('an upstream that is lost later: connecting with a reason, then resync and connected', async () => {
	world = await startWorld({ channels, onFailure: () => {} });
	const stream = await world.open({ channel: 'demo' });
	await stream.connected();
	world.engine.dropSockets();
	await stream.when(() => connections(stream) === 2);
	const story = stream.frames.map(({ event, data }) =>
		event === 'health' ? data.status : event === 'resync' ? data.reason : event
	);
	expect(story).toEqual(['connecting', 'connected', 'connecting', 'upstream-gap', 'connected']);
	expect(stream.health()[2]).toEqual({
		ok: false,
		status: 'connecting',
		channel: 'demo',
		ts: expect.any(Number) as number,
		detail: 'The connection to Inngest was lost; it is being restored.'
	});
	await world.publish('demo', 'message', { message: 'still here' });
	await stream.when(() => stream.texts.length === 1);
});

test('while the upstream is unavailable ticks say so, with the same reason', async () => {
	world = await startWorld({
		channels,
		healthCheck: { intervalMs: 60 },
		onFailure: () => ({ message: 'Please hold the line' })
	});
	const stream = await world.open({ channel: 'demo' });
	await stream.connected();
	world.engine.failTokens(500);
	world.engine.dropSockets();
	await stream.when(() => stream.health().filter(({ detail }) => detail).length >= 3);
	for (const { ok, status, detail, cursor } of stream.health().slice(-2)) {
		expect({ ok, status, detail, cursor }).toEqual({
			ok: false,
			status: 'connecting',
			detail: 'Please hold the line',
			cursor: undefined
		});
	}
	world.engine.failTokens(null);
	await stream.when(() => stream.health().at(-1)!.ok);
});

test('a stream that begins while the upstream is unavailable waits, and says why', async () => {
	world = await startWorld({ channels, onFailure: () => {} });
	const first = await world.open({ channel: 'demo' });
	await first.connected();
	world.engine.failTokens(500);
	world.engine.dropSockets();
	await eventually(() => world.realtime.stats().hub.sources.inngest!.state !== 'open');
	const second = await world.open({ channel: 'demo' });
	await second.when(() => second.health().length === 2);
	expect(second.health()[1]).toMatchObject({
		ok: false,
		status: 'connecting',
		detail: 'The connection to Inngest was lost; it is being restored.'
	});
	world.engine.failTokens(null);
	await second.connected();
});
