import { get, type IncomingMessage } from 'node:http';
import { setImmediate as immediate } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { demoChannel, userChannel } from '../support/channels.js';
import type { SseReader } from '../support/sse.js';
import { MemoryReplayStore } from '../../src/lib/server/index.js';
import { eventually } from '../support/wait.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(() => world.close());

const channels = { demo: { channel: demoChannel, authorize: () => true } };

const say = (message: string, on = 'message'): Promise<void> =>
	world.publish('demo', on, { message });

async function connect(body: object = {}): Promise<SseReader> {
	const stream = await world.open({ channel: 'demo', ...body });
	await stream.connected();
	return stream;
}

/** What a stream said, in words. */
const story = (stream: SseReader): string[] =>
	stream.frames.map(({ event, data }) => {
		if (event === 'health') return data.status;
		return event === 'resync' ? data.reason : (data.data as { message: string }).message;
	});

/** A reader that has read `count` messages and left. */
async function leaveAfter(count: number): Promise<string> {
	const stream = await connect();
	for (let n = 1; n <= count; n++) await say(String(n));
	await stream.when(() => stream.texts.length === count);
	stream.close();
	return stream.lastId!;
}

/** Waits until the hub has received what was published while nobody read. */
const received = (count: number): Promise<void> =>
	eventually(() => world.realtime.stats().hub.messages === count);

test('replay comes before `connected`, and what is live after it', async () => {
	world = await startWorld({ channels });
	const lastEventId = await leaveAfter(1);
	await say('2');
	await say('3');
	await received(3);
	const stream = await connect({ lastEventId });
	await say('4');
	await stream.when(() => stream.texts.length === 3);
	expect(story(stream)).toEqual(['connecting', '2', '3', 'connected', '4']);
	const connected = stream.health().find(({ ok }) => ok)!;
	expect(connected.cursor).toBe(stream.frames[2]!.id);
});

test('a reader that comes back to another process is told `restart`, before `connected`', async () => {
	world = await startWorld({ channels });
	const stream = await connect({ lastEventId: 'other.1-7' });
	expect(story(stream)).toEqual(['connecting', 'restart', 'connected']);
	const later = await connect({ lastEventId: 'other.1-7' });
	expect(story(later)).toEqual(['connecting', 'restart', 'connected']);
});

test('a reader that comes back after the feed was let go is told `idle`', async () => {
	world = await startWorld({ channels, lingerMs: 20 });
	const lastEventId = await leaveAfter(1);
	await eventually(() => world.realtime.stats().hub.feeds === 0);
	const stream = await connect({ lastEventId });
	await say('new');
	await stream.when(() => stream.texts.length === 1);
	expect(story(stream)).toEqual(['connecting', 'idle', 'connected', 'new']);
});

test('a reader that comes back too late is told `expired`, and gets what is left', async () => {
	world = await startWorld({ channels, replay: { maxEvents: 2 } });
	const lastEventId = await leaveAfter(1);
	for (const text of ['2', '3', '4']) await say(text);
	await received(4);
	const stream = await connect({ lastEventId });
	expect(story(stream)).toEqual(['connecting', 'expired', '3', '4', 'connected']);
});

test('what is replayed are the topics allowed now, not those of the stream before', async () => {
	let isAdmin = true;
	world = await startWorld({
		channels: {
			demo: {
				channel: demoChannel,
				authorize: () => (isAdmin ? true : { allowedTopics: ['message'] })
			}
		}
	});
	const lastEventId = await leaveAfter(1);
	await say('secret', 'admin-message');
	await say('public');
	await received(3);
	isAdmin = false;
	const stream = await connect({ lastEventId });
	expect(story(stream)).toEqual(['connecting', 'public', 'connected']);
});

test.each([
	['at once', (allowed: boolean) => allowed],
	['later', async (allowed: boolean) => allowed]
])('each replayed message passes reauthorization, which answers %s', async (_, answer) => {
	const asked: string[] = [];
	world = await startWorld({
		channels: {
			demo: {
				channel: demoChannel,
				authorize: () => true,
				reauthorize: ({ message, params }) => {
					if (params.again) asked.push(message.data.message);
					return answer(!params.again || message.data.message !== '4');
				}
			}
		},
		onFailure: () => {},
		reauthorizeOnEachMessage: true
	});
	const lastEventId = await leaveAfter(1);
	for (const text of ['2', '3', '4', '5']) await say(text);
	await received(5);
	const stream = await world.open({ channel: 'demo', lastEventId, params: { again: true } });
	await stream.end();
	expect(stream.texts).toEqual(['2', '3']);
	expect(stream.statuses.at(-1)).toBe('degraded');
	expect(asked).toEqual(['2', '3', '4']);
});

test.each([
	['without checks', {}],
	['through asynchronous checks', { reauthorizeOnEachMessage: true }]
])('no gap and no repeat while messages pour in, %s', async (_, options) => {
	world = await startWorld({
		channels: { demo: { channel: demoChannel, authorize: async () => true } },
		...options
	});
	const first = await connect();
	let lastEventId = first.lastId!;
	first.close();
	let published = 0;
	let pouring = true;
	const pour = (async () => {
		while (pouring) {
			for (let n = 0; n < 3; n++) void say(String(++published));
			await immediate();
			await immediate();
		}
	})();
	const seen: string[] = [];
	for (let turn = 0; turn < 15; turn++) {
		const stream = await world.open({ channel: 'demo', lastEventId });
		await stream.when(() => stream.texts.length >= 5 + turn);
		stream.close();
		seen.push(...stream.texts);
		expect(story(stream)).not.toContain('expired');
		lastEventId = stream.lastId!;
	}
	pouring = false;
	await pour;
	const last = await connect({ lastEventId });
	await last.when(() => seen.length + last.texts.length >= published);
	seen.push(...last.texts);
	expect(seen).toEqual(Array.from({ length: published }, (_, index) => String(index + 1)));
});

test('without replay a reader that missed nothing goes on; one that missed something is told', async () => {
	world = await startWorld({ channels, replay: false });
	const lastEventId = await leaveAfter(2);
	const nothing = await connect({ lastEventId });
	expect(story(nothing)).toEqual(['connecting', 'connected']);
	await say('3');
	await nothing.when(() => nothing.texts.length === 1);
	const something = await connect({ lastEventId });
	expect(story(something)).toEqual(['connecting', 'expired', 'connected']);
	expect(world.realtime.stats().hub.replay).toEqual({ events: 0, bytes: 0 });
});

test('a channel may keep more, less or nothing', async () => {
	const channelParams = (_event: unknown, id: string): string => id.replace('user:', '');
	world = await startWorld({
		channels: {
			demo: { ...channels.demo, replay: false },
			user: { channel: userChannel, channelParams, authorize: () => true, replay: { maxEvents: 1 } }
		},
		replay: { maxEvents: 10 }
	});
	const names = ['demo', 'user:alice'];
	const first = await world.open({ subscriptions: names.map((channel) => ({ channel })) });
	for (const name of names) await first.connected(name);
	const cursors = names.map((name) => first.health(name).at(-1)!.cursor!);
	for (const message of ['1', '2']) {
		for (const name of names) await world.publish(name, 'message', { message });
	}
	await first.when(() => first.texts.length === 4);
	const again = await world.open({
		subscriptions: names.map((channel, index) => ({ channel, lastEventId: cursors[index] }))
	});
	for (const name of names) await again.connected(name);
	const reasons = again.frames.filter(({ event }) => event === 'resync').map(({ data }) => data);
	expect(reasons).toMatchObject([
		{ channel: 'demo', reason: 'expired' },
		{ channel: 'user:alice', reason: 'expired' }
	]);
	expect(again.messages.map(({ channel, data }) => [channel, data])).toEqual([
		['user:alice', { message: '2' }]
	]);
});

test('a reader that was away while the upstream was lost is told so, in its place', async () => {
	world = await startWorld({ channels, onFailure: () => {} });
	const witness = await connect();
	const lastEventId = await leaveAfter(1);
	await say('2');
	await received(2);
	world.engine.dropSockets();
	await witness.when(() => witness.statuses.length === 4);
	await say('3');
	await witness.when(() => witness.texts.length === 3);
	const stream = await connect({ lastEventId });
	expect(story(stream)).toEqual(['connecting', '2', 'upstream-gap', '3', 'connected']);
	const resync = stream.frames.find(({ event }) => event === 'resync')!;
	const after = await connect({ lastEventId: resync.id });
	expect(story(after)).toEqual(['connecting', '3', 'connected']);
});

/** Opens a stream whose bytes are taken only when the test says so. */
function openByHand(query: string): Promise<IncomingMessage> {
	return new Promise((resolve, reject) => {
		get(`${world.server.url}?${query}`, resolve).on('error', reject);
	});
}

test('a long replay to a slow reader stays within its budget and arrives whole', async () => {
	const maxBufferedBytes = 128 * 1024;
	world = await startWorld({ channels, limits: { maxBufferedBytes } });
	const lastEventId = await leaveAfter(1);
	const filler = 'x'.repeat(20_000);
	for (let n = 2; n <= 500; n++) await say(`${n} ${filler}`);
	await received(500);
	const response = await openByHand(`channel=demo&lastEventId=${lastEventId}`);
	const numbers: string[] = [];
	let text = '';
	for await (const chunk of response) {
		text += String(chunk);
		const frames = text.split('\n\n');
		text = frames.pop()!;
		for (const frame of frames) {
			const number = /"message":"(\d+) /.exec(frame)?.[1];
			if (number) numbers.push(number);
		}
		if (numbers.at(-1) === '500') break;
		await immediate();
	}
	expect(numbers).toEqual(Array.from({ length: 499 }, (_, index) => String(index + 2)));
	expect(world.realtime.stats().slowReaders).toBe(0);
});

test('a reader that stalls in a replay holds a page and no more', async () => {
	world = await startWorld({ channels });
	const lastEventId = await leaveAfter(1);
	const filler = 'x'.repeat(20_000);
	for (let n = 2; n <= 600; n++) await say(filler);
	await received(600);
	const { deliveries } = world.realtime.stats();
	const response = await openByHand(`channel=demo&lastEventId=${lastEventId}`);
	await eventually(() => world.realtime.stats().streams === 1);
	let given = -1;
	await eventually(() => {
		const before = given;
		given = world.realtime.stats().deliveries - deliveries;
		return given === before && given > 0;
	});
	// What fits into the sockets' buffers is taken; what is left waits in the log.
	expect(given).toBeLessThan(400);
	for (let n = 0; n < 200; n++) await say('live');
	await received(800);
	expect(world.realtime.stats()).toMatchObject({ streams: 1 });
	response.destroy();
	await eventually(() => world.realtime.stats().streams === 0);
});

test.each([
	['checked at the start alone', false],
	['checked per message, and later', true]
])('a replay of many channels, %s, shares one budget and arrives whole', async (_, isChecked) => {
	const ids = Array.from({ length: 12 }, (_, n) => `${n}`);
	world = await startWorld({
		channels: {
			user: {
				channel: userChannel,
				channelParams: (_event, name) => name.slice('user:'.length),
				authorize: () => true,
				...(isChecked && { reauthorize: () => immediate(true) })
			}
		},
		reauthorizeOnEachMessage: isChecked
	});
	const open = (cursor?: (channel: string) => string | undefined) =>
		world.open({
			subscriptions: ids.map((id) => ({
				channel: `user:${id}`,
				lastEventId: cursor?.(`user:${id}`)
			}))
		});
	const live = (stream: SseReader) =>
		stream.when(() => ids.every((id) => stream.health(`user:${id}`).some(({ ok }) => ok)));
	const before = await open();
	await live(before);
	before.close();
	await eventually(() => world.realtime.stats().streams === 0);
	for (const id of ids) {
		for (const n of [1, 2]) {
			await world.publish(`user:${id}`, 'message', { message: `${n} ${'x'.repeat(100_000)}` });
		}
	}
	await received(2 * ids.length);
	const again = await open((channel) => before.health(channel).at(-1)?.cursor);
	await live(again);
	expect(again.messages).toHaveLength(2 * ids.length);
	expect(world.realtime.stats().slowReaders).toBe(0);
});

test('a budget smaller than a page still lets a replay through', async () => {
	world = await startWorld({ channels, limits: { maxBufferedBytes: 4_096 } });
	const lastEventId = await leaveAfter(1);
	for (let n = 2; n <= 200; n++) await say(`${n} ${'x'.repeat(200)}`);
	await received(200);
	const stream = await connect({ lastEventId });
	expect(stream.texts).toHaveLength(199);
	expect(world.realtime.stats().slowReaders).toBe(0);
});

/** Counts what is read of it. */
class CountingStore extends MemoryReplayStore {
	read = 0;

	override since(...args: Parameters<MemoryReplayStore['since']>) {
		const slice = super.since(...args);
		this.read += slice.events.length;
		return slice;
	}
}

test('what is read from the log for a replay grows with the replay, not with its square', async () => {
	const store = new CountingStore({ maxBytes: 2 ** 30, maxEvents: 10_000 });
	world = await startWorld({ channels, replay: store });
	const lastEventId = await leaveAfter(1);
	const read: number[] = [];
	let total = 1;
	for (const count of [60, 600]) {
		for (let n = 0; n < count; n++) await say('x'.repeat(20_000));
		total += count;
		await received(total);
		store.read = 0;
		const stream = await connect({ lastEventId });
		expect(stream.texts).toHaveLength(total - 1);
		read.push(store.read);
		stream.close();
	}
	// Pages are as large as a reader takes them, so that little is read again.
	expect(read[1]! / read[0]!).toBeLessThan(15);
	expect(read[1]!).toBeLessThan(4 * total);
});
