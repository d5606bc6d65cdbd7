import { channel, topic } from '@inngest/realtime';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { MemoryReplayStore } from '../../src/lib/server/index.js';
import { RemoteStore } from '../support/store.js';
import { clientAt, Endpoint, ScriptedServer, story, until } from '../support/upstream.js';

let server: ScriptedServer;
let endpoint: Endpoint;
const unhandled: unknown[] = [];
const onUnhandled = (error: unknown): void => void unhandled.push(error);
beforeEach(async () => {
	server = await ScriptedServer.start();
	process.on('unhandledRejection', onUnhandled);
});
afterEach(async () => {
	vi.useRealTimers();
	await endpoint.close();
	await server.close();
	process.off('unhandledRejection', onUnhandled);
	expect(unhandled.splice(0)).toEqual([]);
});

const publish = (message: string): void => server.publish('demo', 'message', { message });

/** A store whose answers can be held back. */
class HeldStore extends RemoteStore {
	readonly held: (() => void)[] = [];
	isHeld = false;
	override delay = async (): Promise<void> => {
		if (this.isHeld) await new Promise<void>((resolve) => this.held.push(resolve));
	};

	/** Answers what was held back, and everything from now on at once. */
	letGo(): void {
		this.isHeld = false;
		this.held.splice(0).forEach((resolve) => resolve());
	}
}

test('an upstream that is lost while the store is asked does not count as live when it answers', async () => {
	const replay = new HeldStore();
	replay.isHeld = true;
	endpoint = await Endpoint.start(clientAt(server.url), { replay });
	const stream = await endpoint.open({ channel: 'demo' });
	await until(() => replay.held.length === 1, 'the question');
	server.onToken = () => new Promise(() => {});
	server.last.drop();
	await stream.when(() => stream.statuses.length === 2, 'the loss');
	replay.letGo();
	await new Promise(setImmediate);
	await new Promise(setImmediate);
	expect(story(stream)).toEqual(['connecting', 'connecting']);
});

test('an upstream that is lost while a gap is stored does not count as live afterwards', async () => {
	const replay = new HeldStore();
	endpoint = await Endpoint.start(clientAt(server.url), { replay });
	const stream = await endpoint.open({ channel: 'demo' });
	await stream.connected();
	replay.isHeld = true;
	server.last.drop();
	await until(() => replay.held.length === 1, 'the gap on its way to the store');
	server.onToken = () => new Promise(() => {});
	server.last.drop();
	await stream.when(() => endpoint.failures.length === 2, 'the second loss');
	replay.letGo();
	await stream.when(() => story(stream).includes('resync upstream-gap'), 'the gap');
	await new Promise(setImmediate);
	expect(story(stream).at(-1)).not.toBe('connected');
});

for (const kind of ['throws', 'rejects'] as const) {
	test(`a store that ${kind} ends streams, loses nothing unannounced, and is used again`, async () => {
		const replay = new HeldStore();
		endpoint = await Endpoint.start(clientAt(server.url), { replay });
		const stream = await endpoint.open({ channel: 'demo' });
		await stream.connected();
		publish('1');
		await stream.when(() => stream.messages.length === 1, 'a message');
		const append = replay.append.bind(replay);
		replay.append = () => {
			if (kind === 'throws') throw new Error('no store');
			return Promise.reject(new Error('no store'));
		};
		// The second comes while the first is on its way.
		publish('2');
		publish('3');
		await stream.end();
		expect(story(stream)).toEqual(['connecting', 'connected', '1', 'degraded']);
		expect(endpoint.causes).toContain('no store');
		replay.append = append;
		const again = await endpoint.open({ channel: 'demo', lastEventId: stream.lastId! });
		await again.connected();
		// Although nothing more is published.
		await again.when(() => story(again).includes('resync upstream-gap'), 'the gap');
		publish('4');
		await again.when(() => again.messages.length === 1, 'a message');
		expect(story(again)).toEqual(['connecting', 'resync upstream-gap', 'connected', '4']);
	});
}

test('a store that hangs ends streams after 10 s, and what waited for it comes in order', async () => {
	const replay = new HeldStore();
	endpoint = await Endpoint.start(clientAt(server.url), { replay });
	const stream = await endpoint.open({ channel: 'demo' });
	await stream.connected();
	publish('1');
	await stream.when(() => stream.messages.length === 1, 'a message');
	vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval', 'clearTimeout', 'clearInterval'] });
	replay.isHeld = true;
	publish('2');
	publish('3');
	await until(() => replay.held.length === 1, 'the message on its way to the store');
	await vi.advanceTimersByTimeAsync(10_000);
	await stream.end();
	expect(story(stream)).toEqual(['connecting', 'connected', '1', 'degraded']);
	expect(endpoint.causes).toContain('The replay store has not answered for 10 s.');
	// Who comes back while it hangs is told as well.
	const meanwhile = await endpoint.open({ channel: 'demo', lastEventId: stream.lastId! });
	await until(() => replay.held.length === 2, 'the question for what followed');
	await vi.advanceTimersByTimeAsync(10_000);
	await meanwhile.end();
	expect(story(meanwhile)).toEqual(['connecting', 'degraded']);
	vi.useRealTimers();
	replay.letGo();
	const again = await endpoint.open({ channel: 'demo', lastEventId: stream.lastId! });
	await again.when(() => again.messages.length === 2, 'the messages');
	publish('4');
	await again.when(() => again.messages.length === 3, 'one more');
	// Nobody can know that the store, which failed, lost nothing.
	const heard = story(again).filter((one) => !one.startsWith('conn'));
	expect([...new Set(heard)]).toEqual(['2', '3', 'resync upstream-gap', '4']);
});

test('a store that does not answer the first question ends streams, and is asked again', async () => {
	const replay = new HeldStore();
	replay.isHeld = true;
	vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval', 'clearTimeout', 'clearInterval'] });
	endpoint = await Endpoint.start(clientAt(server.url), { replay });
	const stream = await endpoint.open({ channel: 'demo' });
	await until(() => replay.held.length === 1, 'the question');
	await vi.advanceTimersByTimeAsync(10_000);
	await stream.end();
	expect(story(stream)).toEqual(['connecting', 'degraded']);
	vi.useRealTimers();
	replay.isHeld = false;
	const again = await endpoint.open({ channel: 'demo' });
	await again.connected();
});

test('a store in memory that throws ends streams and no process', async () => {
	const replay = new MemoryReplayStore();
	endpoint = await Endpoint.start(clientAt(server.url), { replay });
	const stream = await endpoint.open({ channel: 'demo' });
	await stream.connected();
	replay.append = () => {
		throw new Error('no store');
	};
	publish('1');
	await stream.end();
	expect(story(stream)).toEqual(['connecting', 'connected', 'degraded']);
	replay.bounds = replay.append as never;
	const other = await endpoint.open({ channel: 'user:alice' });
	await other.end();
	expect(story(other)).toEqual(['connecting', 'degraded']);
});

test('entries that a small store dropped before they were sent are a gap', async () => {
	const replay = new HeldStore();
	const since = replay.since.bind(replay);
	endpoint = await Endpoint.start(clientAt(server.url), { replay });
	const stream = await endpoint.open({ channel: 'demo' });
	await stream.connected();
	let calls = 0;
	replay.since = async (channel, cursor) => ({
		...(await since(channel, cursor)),
		...(++calls === 1 && { missed: 'expired' as const })
	});
	publish('1');
	await stream.when(() => story(stream).includes('resync upstream-gap'), 'the gap');
	expect(stream.messages).toHaveLength(1);
});

/** A channel whose topic is validated when the test says so. */
function slowChannel(): { definition: ReturnType<typeof build>; pass: () => void; asked: number } {
	const waiting: (() => void)[] = [];
	const schema = z.object({ message: z.string() }).refine(async () => {
		control.asked++;
		await new Promise<void>((resolve) => waiting.push(resolve));
		return true;
	});
	const build = () => channel('slow').addTopic(topic('message').schema(schema));
	const control = {
		definition: build(),
		pass: () => waiting.splice(0).forEach((resolve) => resolve()),
		asked: 0
	};
	return control;
}

test('a feed that ended while a message was validated does not start a new log', async () => {
	const slow = slowChannel();
	const replay = new MemoryReplayStore();
	endpoint = await Endpoint.start(clientAt(server.url), {
		replay,
		lingerMs: 0,
		channels: { slow: { channel: slow.definition, authorize: () => true } } as never
	});
	const stream = await endpoint.open({ channel: 'slow' });
	await stream.connected();
	server.publish('slow', 'message', { message: '1' });
	await until(() => slow.asked > 0, 'the validator');
	stream.close();
	await until(() => endpoint.realtime.stats().hub.feeds === 0, 'the end of the feed');
	slow.pass();
	await new Promise(setImmediate);
	await new Promise(setImmediate);
	expect(replay.size).toEqual({ bytes: 0, events: 0 });
});

test('a gap comes after the messages that were being validated before it', async () => {
	const slow = slowChannel();
	endpoint = await Endpoint.start(clientAt(server.url), {
		channels: { slow: { channel: slow.definition, authorize: () => true } } as never
	});
	const stream = await endpoint.open({ channel: 'slow' });
	await stream.connected();
	server.publish('slow', 'message', { message: '1' });
	await until(() => slow.asked > 0, 'the validator');
	server.publish('slow', 'message', { message: '2' });
	server.last.drop();
	await stream.when(() => stream.statuses.length === 4, 'the upstream to be back');
	const passing = setInterval(slow.pass, 1);
	await stream.when(() => story(stream).includes('resync upstream-gap'), 'the gap');
	clearInterval(passing);
	expect(story(stream).filter((event) => !event.startsWith('conn'))).toEqual([
		'1',
		'2',
		'resync upstream-gap'
	]);
});
