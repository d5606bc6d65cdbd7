import { afterEach, expect, expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import { channel, topic } from '@inngest/realtime';
import { realtime as inngest4 } from 'inngest4/realtime';
import {
	createRealtime,
	MemoryReplayStore,
	RealtimeError,
	type ReplayStore,
	type Realtime
} from '../../src/lib/server/index.js';
import { FakeServer } from '../support/backend.js';
import { demoChannel, userChannel } from '../support/channels.js';
import { serve } from '../support/server.js';
import { openStream, type SseReader } from '../support/sse.js';
import { eventually } from '../support/wait.js';
import { inngestAt, startWorld } from '../support/world.js';

const closers: (() => unknown)[] = [];
afterEach(async () => {
	for (const close of closers.splice(0).reverse()) await close();
});

const demo = { channel: demoChannel, authorize: () => true };
const local = { ...demo, source: false as const };

/** An endpoint at which no Inngest answers. */
async function start(
	options: Partial<Parameters<typeof createRealtime>[0]> = {}
): Promise<{ realtime: Realtime; open(body: unknown): Promise<SseReader> }> {
	const realtime = createRealtime({
		inngest: inngestAt('http://127.0.0.1:1'),
		channels: { demo: local },
		onFailure: () => {},
		...options
	} as Parameters<typeof createRealtime>[0]);
	const server = await serve(realtime);
	closers.push(() => server.close(), realtime.close);
	return {
		realtime,
		async open(body) {
			const reader = await openStream(server.url, body);
			closers.push(() => reader.close());
			await reader.connected();
			return reader;
		}
	};
}

test('without Inngest a message reaches all readers, and those who resume', async () => {
	const { realtime, open } = await start();
	const reader = await open({ channel: 'demo' });
	const first = await realtime.emit(demoChannel().message, { message: 'one' });
	await realtime.emit(demoChannel().message, { message: 'two' });
	await reader.when(() => reader.texts.length === 2);
	expect(reader.texts).toEqual(['one', 'two']);
	expect(reader.messages[0]).toMatchObject({ channel: 'demo', topic: 'message', kind: 'data' });
	const resumed = await open({ channel: 'demo', lastEventId: first.cursor });
	await resumed.when(() => resumed.texts.length === 1);
	expect(resumed.texts).toEqual(['two']);
	expect(realtime.stats().hub.sources).toMatchObject({ inngest: { sockets: 0 }, emit: {} });
});

test('what is emitted before the first reader is history for it', async () => {
	const { realtime, open } = await start();
	for (const message of ['1', '2', '3']) await realtime.emit(demoChannel().message, { message });
	const reader = await open({ channel: 'demo', history: 2 });
	await reader.when(() => reader.texts.length === 2);
	expect(reader.texts).toEqual(['2', '3']);
	expect(reader.messages.map(({ history }) => history)).toEqual([true, true]);
});

test('on a channel that Inngest feeds, both come in one order and with one kind of cursor', async () => {
	const world = await startWorld({ channels: { demo } });
	closers.push(() => world.close());
	const reader = await world.open({ channel: 'demo' });
	await reader.connected();
	await world.publish('demo', 'message', { message: 'published' });
	await reader.when(() => reader.texts.length === 1);
	await world.realtime.emit(demoChannel().message, { message: 'emitted' });
	await reader.when(() => reader.texts.length === 2);
	expect(reader.texts).toEqual(['published', 'emitted']);
	const [one, two] = reader.frames.flatMap(({ event, id }) => (event === 'message' ? [id!] : []));
	expect(two).toBe(one!.replace(/\d+$/, (sequence) => String(Number(sequence) + 1)));
});

test('what is emitted before a channel that Inngest feeds is live is kept, and no gap is announced', async () => {
	const world = await startWorld({ channels: { demo } });
	closers.push(() => world.close());
	await world.realtime.emit(demoChannel().message, { message: 'early' });
	await eventually(() => world.realtime.stats().hub.sources.inngest!.state === 'open');
	const reader = await world.open({ channel: 'demo', history: 5 });
	await reader.when(() => reader.texts.length === 1);
	expect(reader.texts).toEqual(['early']);
	expect(reader.frames.some(({ event }) => event === 'resync')).toBe(false);
});

test('a key is emitted once', async () => {
	const { realtime, open } = await start();
	const reader = await open({ channel: 'demo' });
	const emit = (message: string, key?: string) =>
		realtime.emit(demoChannel().message, { message }, { ...(key && { key }) });
	const first = await emit('one', 'step-1');
	expect(first.isDuplicate).toBe(false);
	expect(await emit('again', 'step-1')).toEqual({ cursor: first.cursor, isDuplicate: true });
	await Promise.all([emit('alike'), emit('alike')]);
	await reader.when(() => reader.texts.length === 3);
	expect(reader.texts).toEqual(['one', 'alike', 'alike']);
});

test('with a backend a message reaches the readers of every process once, in one order', async () => {
	const server = new FakeServer();
	const [one, other] = [
		await start({ backend: server.connect() }),
		await start({ backend: server.connect() })
	];
	const readers = [await one.open({ channel: 'demo' }), await other.open({ channel: 'demo' })];
	for (let n = 0; n < 20; n++) {
		const { realtime } = n % 2 ? one : other;
		await realtime.emit(demoChannel().message, { message: String(n) }, { key: String(n) });
		// Inngest ran the function again, in another process.
		const again = n % 2 ? other : one;
		const { isDuplicate } = await again.realtime.emit(
			demoChannel().message,
			{ message: 'doubled' },
			{ key: String(n) }
		);
		expect(isDuplicate).toBe(true);
	}
	for (const reader of readers) {
		await reader.when(() => reader.texts.length === 20);
		expect(reader.texts).toEqual(Array.from({ length: 20 }, (_, n) => String(n)));
	}
});

test('while the backend is unavailable emitting fails at once, and says with which key to try again', async () => {
	const server = new FakeServer();
	const { realtime } = await start({ backend: server.connect() });
	server.stop();
	const failure = await realtime
		.emit(demoChannel().message, { message: 'x' }, { key: 'k1' })
		.catch((error: unknown) => error);
	expect(failure).toBeInstanceOf(RealtimeError);
	expect(failure).toMatchObject({ code: 'BACKEND', key: 'k1' });
	expect((failure as Error).message).toContain('topic "message" of channel "demo"');
	server.start();
	await eventually(() => realtime.stats().hub.backend!.state === 'closed');
	await expect(
		realtime.emit(demoChannel().message, { message: 'x' }, { key: 'k1' })
	).resolves.toMatchObject({ isDuplicate: false });
});

test.each([
	['memory', undefined],
	['a backend that is no database', new FakeServer().connect()]
])('with %s nothing is emitted in a transaction', async (_name, backend) => {
	const { realtime, open } = await start({ ...(backend && { backend }) });
	const reader = await open({ channel: 'demo' });
	const emitted = realtime.emit(demoChannel().message, { message: 'x' }, { tx: {} });
	const error: unknown = await emitted.catch((error: unknown) => error);
	expect(error).toMatchObject({ code: 'UNSUPPORTED' });
	expect((error as Error).message).toContain('"demo"');
	await realtime.emit(demoChannel().message, { message: 'y' });
	await reader.when(() => reader.texts.length === 1);
	expect(reader.texts).toEqual(['y']);
});

test('what does not match, is not registered, or comes too late is refused', async () => {
	const { realtime } = await start();
	await expect(
		// @ts-expect-error The schema wants a text.
		realtime.emit(demoChannel().message, { message: 1 })
	).rejects.toMatchObject({ code: 'INVALID_MESSAGE' });
	await expect(realtime.emit(userChannel('a').message, { message: 'x' })).rejects.toMatchObject({
		code: 'UNKNOWN_CHANNEL'
	});
	realtime.close();
	await expect(realtime.emit(demoChannel().message, { message: 'x' })).rejects.toMatchObject({
		code: 'CLOSED'
	});
});

test('topics of inngest 4 are emitted to as well, and their schemas transform', async () => {
	const room = inngest4.channel({
		name: (id: string) => `room:${id}`,
		topics: { said: { schema: z.object({ text: z.string().transform((text) => text.trim()) }) } }
	});
	const { realtime, open } = await start({
		channels: {
			room: {
				channel: room,
				channelParams: (_: unknown, requested: string) => requested.slice('room:'.length),
				authorize: () => true,
				source: false
			}
		} as never
	});
	const reader = await open({ channel: 'room:7' });
	const published = await realtime.emit(room('7').said, { text: ' hi ' });
	expectTypeOf(published.cursor).toBeString();
	await reader.when(() => reader.messages.length === 1);
	expect(reader.messages[0]!.data).toEqual({ text: 'hi' });
});

test('a log that was cleared replays nothing, and everybody is told', async () => {
	const server = new FakeServer();
	for (const backend of [undefined, server.connect()]) {
		const { realtime, open } = await start({ ...(backend && { backend }) });
		const reader = await open({ channel: 'demo' });
		const { cursor } = await realtime.emit(demoChannel().message, { message: 'secret' });
		await reader.when(() => reader.texts.length === 1);
		await realtime.clear(demoChannel);
		await reader.when(() => reader.frames.some(({ event }) => event === 'resync'));
		const resumed = await open({ channel: 'demo', lastEventId: cursor.replace(/\d+$/, '0') });
		expect(resumed.texts).toEqual([]);
		expect(resumed.frames.some(({ event }) => event === 'resync')).toBe(true);
		await realtime.emit(demoChannel().message, { message: 'next' });
		await reader.when(() => reader.texts.at(-1) === 'next');
		expect(reader.texts).toEqual(['secret', 'next']);
	}
});

test('what cannot be erased is not passed over in silence', async () => {
	const backend = new FakeServer().connect();
	const replay = { ...backend.replay!, clear: undefined };
	const memory = new MemoryReplayStore();
	const store: ReplayStore = {
		append: (log, events) => memory.append(log, events),
		since: (...args) => memory.since(...args),
		bounds: (log) => memory.bounds(log)
	};
	const stores = [{ backend: { ...backend, replay } }, { replay: store }];
	for (const options of [...stores, { scope: 'request' as const }]) {
		const { realtime } = await start(options);
		const error = await realtime.clear(demoChannel).catch((error: unknown) => error);
		expect(error).toMatchObject({
			code: 'UNSUPPORTED',
			message: expect.stringContaining('Nothing of channel "demo" was erased')
		});
	}
});

test('of several entries with one definition, the one that has the name is emitted to', async () => {
	const entry = (id: string) => ({ ...local, channel: userChannel, channelParams: id });
	const { realtime, open } = await start({
		channels: { alice: entry('alice'), bob: entry('bob') } as never
	});
	const reader = await open({ channel: 'user:bob' });
	const since = await realtime.cursor(userChannel, { channelParams: 'bob' });
	await realtime.emit(userChannel('bob').message, { message: 'hello' });
	await reader.when(() => reader.texts.length === 1);
	const resumed = await open({ channel: 'user:bob', since });
	await resumed.when(() => resumed.texts.length === 1);
	expect(resumed.frames.map(({ event }) => event)).not.toContain('resync');
	await expect(realtime.emit(userChannel('eve').message, { message: '' })).rejects.toMatchObject({
		code: 'UNKNOWN_CHANNEL'
	});
});

test('channels that share a schema are told apart, and those that share a definition are not guessed', async () => {
	const said = z.object({ message: z.string() });
	const shared = { schema: said };
	const rooms = ['room', 'hall'].map((kind) =>
		inngest4.channel({
			name: (id: string) => `${kind}:${id}`,
			topics: { said: { schema: said }, heard: shared }
		})
	);
	const entry = (channel: (typeof rooms)[number]) => ({
		...local,
		channel,
		channelParams: (_: unknown, requested: string) => requested.split(':')[1]
	});
	const { realtime, open } = await start({
		channels: { room: entry(rooms[0]!), hall: entry(rooms[1]!) } as never
	});
	const reader = await open({ channel: 'hall:1' });
	await realtime.emit(rooms[1]!('1').said, { message: 'hello' });
	await reader.when(() => reader.texts.length === 1);
	const emitted = realtime.emit(rooms[1]!('1').heard, { message: 'hello' });
	await expect(emitted).rejects.toMatchObject({
		code: 'UNKNOWN_CHANNEL',
		message: expect.stringContaining('"room" and "hall"')
	});
});

test('a schema that does not settle, or gives no answer, holds nothing up and lets nothing out', async () => {
	const answers: unknown[] = [new Promise(() => {}), { then() {} }, {}, undefined, 5];
	const odd = channel('odd').addTopic(
		topic('message').schema({
			'~standard': { version: 1, vendor: 'test', validate: () => answers[0] as never }
		})
	);
	const { realtime } = await start({
		callbackTimeoutMs: 20,
		channels: { odd: { ...local, channel: odd } } as never
	});
	for (; answers.length > 0; answers.shift()) {
		for (const send of [realtime.emit, realtime.publish]) {
			await expect(send(odd().message, {} as never)).rejects.toMatchObject({
				code: 'INVALID_MESSAGE'
			});
		}
	}
});

test.each(['at once', 'later'])(
	'what a store refuses %s is not said to be emitted, and can be emitted again',
	async (when) => {
		const replay = new MemoryReplayStore();
		const append = replay.append.bind(replay);
		let isFull = false;
		replay.append = (log, events) => {
			if (!isFull)
				return when === 'later'
					? (Promise.resolve(append(log, events)) as never)
					: append(log, events);
			if (when === 'later') return Promise.reject(new Error('disk full')) as never;
			throw new Error('disk full');
		};
		const { realtime, open } = await start({ replay });
		await open({ channel: 'demo' });
		const send = () => realtime.emit(demoChannel().message, { message: 'x' }, { key: 'k' });
		isFull = true;
		await expect(send()).rejects.toMatchObject({ code: 'BACKEND', key: 'k' });
		isFull = false;
		expect(await send()).toMatchObject({ isDuplicate: false });
		expect(await send()).toMatchObject({ isDuplicate: true });
	}
);
