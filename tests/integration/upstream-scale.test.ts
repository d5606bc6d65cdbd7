import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { startInngestDev, type InngestDev } from '../../src/lib/dev/index.js';
import { MAX_SENT_BYTES, MAX_URL_TOKEN_BYTES } from '../../src/lib/server/inngest/pieces.js';
import type { RealtimeSource } from '../../src/lib/server/hub/source.js';
import { Recorder, ScriptedServer, sourceAt, until } from '../support/upstream.js';

let upstream: RealtimeSource | undefined;
let server: ScriptedServer | undefined;
let engine: InngestDev | undefined;
beforeEach(() => {
	upstream = server = engine = undefined;
});
afterEach(async () => {
	vi.restoreAllMocks();
	upstream?.close();
	await server?.close();
	await engine?.close();
});

/** Numbers that look random and are the same in each run. */
function createRandom(seed: number): (below: number) => number {
	let state = seed;
	return (below) => {
		state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
		return Math.floor((state / 2 ** 32) * below);
	};
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

test('3,000 channels come back after a cut over one socket, in frames that the server takes', async () => {
	server = await ScriptedServer.start();
	upstream = sourceAt(server.url);
	const listeners = numbers(3_000).map(
		(index) => new Recorder(`organization:${index}`, ['a', 'b'])
	);
	for (const listener of listeners) upstream.listen(listener);
	await until(() => listeners.every(({ isLive }) => isLive), 'all channels to be live');
	const first = server.last;
	first.drop();
	await until(() => listeners.every(({ isLive }) => !isLive), 'the loss');
	await until(() => listeners.every(({ isLive }) => isLive), 'all channels to be back');
	expect(server.open).toHaveLength(1);
	expect(upstream.sockets).toBe(1);
	expect(server.last.topics.size).toBe(6_000);
	for (const { frames, tokenBytes } of server.sockets) {
		expect(tokenBytes).toBeLessThanOrEqual(MAX_URL_TOKEN_BYTES);
		expect(frames.every(({ bytes }) => bytes <= MAX_SENT_BYTES)).toBe(true);
		// Nor are they cut smaller than they need to be.
		expect(frames.length).toBeLessThan(75);
	}
	for (const { events } of listeners) expect(events).toEqual(['live', 'lost', 'live']);
});

test('the engine takes 3,000 channels again after a cut, and closes no socket for a large frame', async () => {
	engine = await startInngestDev();
	upstream = sourceAt(engine.url);
	const listeners = numbers(3_000).map((index) => new Recorder(`<user & co>:${index}`));
	for (const listener of listeners) upstream.listen(listener);
	await until(() => listeners.every(({ isLive }) => isLive), 'all channels to be live');
	engine.dropSockets();
	await until(() => listeners.every(({ isLive }) => !isLive), 'the loss');
	await until(() => listeners.every(({ isLive }) => isLive), 'all channels to be back');
	expect(engine.subscriptions).toBe(3_000);
	expect(engine.sockets).toBe(1);
	for (const { events } of listeners) expect(events).toEqual(['live', 'lost', 'live']);
});

test('channels come and go at random while messages flow: those that stay lose nothing', async () => {
	engine = await startInngestDev();
	upstream = sourceAt(engine.url);
	const random = createRandom(7);
	const kept = numbers(5).map((index) => new Recorder(`kept:${index}`));
	for (const listener of kept) upstream.listen(listener);
	await until(() => kept.every(({ isLive }) => isLive), 'the kept channels to be live');
	const present = new Map<string, { guest: Recorder; stop: () => void }>();
	let sent = 0;
	for (let round = 0; round < 600; round++) {
		const channel = `guest:${random(200)}`;
		const known = present.get(channel);
		if (known) {
			known.stop();
			present.delete(channel);
		} else {
			const guest = new Recorder(channel);
			present.set(channel, { guest, stop: upstream.listen(guest) });
		}
		for (const { channel } of kept) engine.publish({ channel, topic: 't', data: sent });
		sent++;
		if (random(3) === 0) await new Promise(setImmediate);
	}
	await until(() => engine!.subscriptions === kept.length + present.size, 'the engine to agree');
	await until(
		() => [...present.values()].every(({ guest }) => guest.isLive),
		'the guests to be live'
	);
	await until(() => kept.every(({ messages }) => messages.length >= sent), 'all messages');
	for (const listener of kept) {
		expect(listener.data()).toEqual(numbers(sent));
		expect(listener.events).toEqual(['live']);
	}
	for (const { stop } of present.values()) stop();
	await until(() => engine!.subscriptions === kept.length, 'the guests to be gone');
	expect(engine.sockets).toBe(1);
});

test('a server that closes again and again loses, repeats and reorders nothing of any topic', async () => {
	engine = await startInngestDev();
	upstream = sourceAt(engine.url);
	vi.spyOn(Math, 'random').mockReturnValue(0);
	const topics = ['x', 'y', 'z'];
	const listeners = numbers(4).map((index) => new Recorder(`channel:${index}`, topics));
	for (const listener of listeners) upstream.listen(listener);
	await until(() => listeners.every(({ isLive }) => isLive), 'all channels to be live');
	const pieces = numbers(400).map((index) => `${index} `);
	const stream = engine.publishStream(
		{ channel: 'channel:0', topic: 'x' },
		(async function* () {
			for (const piece of pieces) {
				yield piece;
				await new Promise(setImmediate);
			}
		})()
	);
	let sent = 0;
	for (let round = 0; round < 400; round++) {
		if (round % 80 === 40) engine.announceClosing();
		for (const { channel } of listeners) {
			for (const topic of topics) engine.publish({ channel, topic, data: sent });
		}
		sent++;
		await new Promise(setImmediate);
	}
	await stream;
	await until(
		() => listeners.every(({ messages }) => messages.length >= sent * topics.length),
		'all messages'
	);
	await until(() => upstream!.sockets === 1 && engine!.sockets === 1, 'the end of the old sockets');
	for (const listener of listeners) {
		for (const topic of topics) {
			const data = listener.messages.filter((each) => each.topic === topic && each.kind === 'data');
			expect(data.map((each) => each.data)).toEqual(numbers(sent));
		}
		expect(listener.events).toEqual(['live']);
	}
	const streamed = listeners[0]!.messages.filter(({ kind }) => kind !== 'data');
	expect(streamed.at(0)?.kind).toBe('datastream-start');
	expect(streamed.at(-1)?.kind).toBe('datastream-end');
	expect(streamed.slice(1, -1).map(({ data }) => data)).toEqual(pieces);
});

test('channels take turns: one with few topics does not wait for others with very many', async () => {
	server = await ScriptedServer.start();
	upstream = sourceAt(server.url);
	const names = numbers(1_000).map((index) => `topic:${index}`);
	const large = ['x', 'y', 'z'].map((channel) => new Recorder(channel, names));
	const first = new Recorder('first');
	upstream.listen(first);
	await first.whenLive();
	const small = new Recorder('small', ['a', 'b']);
	let late = 0;
	server.onToken = async () => {
		// It comes while the second piece of many is on its way.
		if (server!.tokens.length === 3) {
			upstream!.listen(small);
			late = server!.tokens.length;
		}
		return 201;
	};
	for (const listener of large) upstream.listen(listener);
	await small.whenLive();
	expect(server.tokens.length - late).toBeLessThanOrEqual(1);
	expect(large.some(({ isLive }) => isLive)).toBe(false);
	await until(() => large.every(({ isLive }) => isLive), 'the others to be live too');
	expect(server.open).toHaveLength(1);
	expect(server.last.topics.size).toBe(3_003);
});

test.each([100, 1_000])(
	'one more topic costs nothing that grows with the %i that are there',
	async (count) => {
		server = await ScriptedServer.start();
		upstream = sourceAt(server.url);
		let reads = 0;
		const others = numbers(count).map((index) => {
			const topics = [`topic:${index}`];
			return Object.defineProperty(new Recorder('a'), 'topics', {
				get: () => (reads++, topics)
			});
		});
		for (const other of others) upstream.listen(other);
		await until(() => others.every(({ isLive }) => isLive), 'the others to be live');
		reads = 0;
		const one = new Recorder('a', ['one']);
		const stop = upstream.listen(one);
		await one.whenLive();
		server.publish('a', 'one', 1);
		await until(() => one.messages.length === 1, 'a message');
		stop();
		await until(() => !server!.last.topics.has('a/one'), 'the end of the subscription');
		expect(reads).toBe(0);
	}
);

test('a feed of more than 1,000 topics fails, and costs nobody anything', async () => {
	server = await ScriptedServer.start();
	upstream = sourceAt(server.url);
	const many = new Recorder(
		'many',
		numbers(1_001).map((index) => `topic:${index}`)
	);
	const stop = upstream.listen(many);
	await until(() => many.events.length === 1, 'the failure');
	expect(many.errors[0]?.message).toBe(
		'A feed of channel "many" was asked for 1001 topics; at most 1000 can be listened to at once. Ask for fewer, or move what differs into the channel\'s name.'
	);
	stop();
	expect(upstream.state).toBe('idle');
	expect(server.tokens).toEqual([]);
});
