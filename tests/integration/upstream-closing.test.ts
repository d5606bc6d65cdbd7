import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { RealtimeSource } from '../../src/lib/server/hub/source.js';
import {
	Recorder,
	ScriptedServer,
	timestamp,
	sourceAt,
	until,
	type ScriptedSocket
} from '../support/upstream.js';

let server: ScriptedServer;
let upstream: RealtimeSource;
let listener: Recorder;
beforeEach(async () => {
	// The shortest of all back-offs: a server that closes soon after a socket opened is backed off from.
	vi.spyOn(Math, 'random').mockReturnValue(0);
	server = await ScriptedServer.start();
	upstream = sourceAt(server.url);
	listener = new Recorder('a');
	upstream.listen(listener);
	await listener.whenLive();
});
afterEach(async () => {
	vi.useRealTimers();
	vi.restoreAllMocks();
	upstream.close();
	await server.close();
});

/** Announces the end of the current socket and waits for the next, which is not confirmed yet. */
async function beginChange(): Promise<[old: ScriptedSocket, next: ScriptedSocket]> {
	const old = server.last;
	const count = server.sockets.length;
	server.answersPings = false;
	old.closing();
	await until(() => server.sockets.length > count, 'the next socket');
	const next = server.last;
	await until(() => next.heldPings.length === 1, 'its ping');
	return [old, next];
}

/** Lets the change go through; everything that was sent before has then been read. */
async function endChange(old: ScriptedSocket): Promise<void> {
	server.answersPings = true;
	server.answerPings();
	await until(() => upstream.sockets === 1, 'the end of the old socket');
	await until(() => !server.open.includes(old), 'its end at the server');
}

/** Resolves when the listener has got everything that was sent on `socket` before. */
async function drained(socket: ScriptedSocket): Promise<void> {
	socket.message('a', 't', 'mark');
	await until(() => listener.data().includes('mark'), 'the mark');
	listener.messages.splice(
		listener.messages.findIndex(({ data }) => data === 'mark'),
		1
	);
}

/** Expects another socket when `delayMs` of fake time have passed, and none before. */
async function expectNextSocketAfter(delayMs: number): Promise<void> {
	const count = server.sockets.length;
	await until(() => vi.getTimerCount() > 0 && upstream.state === 'waiting', 'a back-off');
	await new Promise(setImmediate);
	await vi.advanceTimersByTimeAsync(delayMs - 5);
	await new Promise(setImmediate);
	expect(upstream.state).toBe('waiting');
	expect(server.sockets).toHaveLength(count);
	await vi.advanceTimersByTimeAsync(10);
	await until(() => server.sockets.length > count, 'another socket');
}

test('on `closing` the old socket delivers until the next one is confirmed', async () => {
	const [old, next] = await beginChange();
	old.message('a', 't', 1);
	await until(() => listener.data().length === 1, 'a message of the old socket');
	expect(upstream.sockets).toBe(1);
	await endChange(old);
	next.message('a', 't', 2);
	await until(() => listener.data().length === 2, 'a message of the next socket');
	expect(listener.data()).toEqual([1, 2]);
	expect(listener.events).toEqual(['live']);
});

test('what both sockets bring is delivered once and in order, whichever is ahead', async () => {
	const [old, next] = await beginChange();
	const times = Array.from({ length: 4 }, timestamp);
	next.message('a', 't', 2, times[1]);
	next.message('a', 't', 3, times[2]);
	await new Promise((resolve) => next.socket.ping(resolve));
	old.message('a', 't', 1, times[0]);
	old.message('a', 't', 2, times[1]);
	await until(() => listener.data().length === 2, 'messages of the old socket');
	await endChange(old);
	next.message('a', 't', 4, times[3]);
	await until(() => listener.data().includes(4), 'a message of the next socket');
	expect(listener.data()).toEqual([1, 2, 3, 4]);
});

test('messages that are alike are told apart by how often each socket brought them', async () => {
	const [old, next] = await beginChange();
	const time = timestamp();
	old.message('a', 't', 'same', time);
	old.message('a', 't', 'same', time);
	await until(() => listener.data().length === 2, 'messages of the old socket');
	await endChange(old);
	for (let count = 0; count < 3; count++) next.message('a', 't', 'same', time);
	await drained(next);
	expect(listener.data()).toEqual(['same', 'same', 'same']);
});

test('a repeat that comes after the change is known, though the old socket is gone', async () => {
	const [old, next] = await beginChange();
	const time = timestamp();
	old.message('a', 't', 1, time);
	await until(() => listener.data().length === 1, 'a message of the old socket');
	await endChange(old);
	next.message('a', 't', 1, time);
	await drained(next);
	expect(listener.data()).toEqual([1]);
});

test('an old socket that dies before the change is a gap, and its messages are not repeated', async () => {
	const [old, next] = await beginChange();
	const time = timestamp();
	old.message('a', 't', 1, time);
	await until(() => listener.data().length === 1, 'a message of the old socket');
	old.drop();
	await until(() => listener.events.includes('lost'), 'the loss');
	server.answersPings = true;
	server.answerPings();
	await listener.whenLive();
	next.message('a', 't', 1, time);
	await drained(next);
	expect(listener.data()).toEqual([1]);
	expect(listener.events).toEqual(['live', 'lost', 'live']);
});

test('an old socket that dies while it is being read out makes a gap, not a loss', async () => {
	const [old, next] = await beginChange();
	server.answerPings();
	await until(() => old.heldPings.length === 1, 'the last ping on the old socket');
	old.drop();
	await until(() => listener.events.includes('gap'), 'the gap');
	await drained(next);
	expect(listener.events).toEqual(['live', 'gap']);
});

test('a next socket that dies before the change leaves the old one in charge', async () => {
	const [old, next] = await beginChange();
	const times = [timestamp(), timestamp()];
	next.message('a', 't', 1, times[0]);
	old.message('a', 't', 1, times[0]);
	await until(() => listener.data().length === 1, 'a message of the old socket');
	server.answersPings = true;
	next.drop();
	old.message('a', 't', 2, times[1]);
	await until(() => server.sockets.length === 3, 'another socket');
	await until(() => !server.open.includes(old), 'the change');
	await drained(server.last);
	expect(listener.data()).toEqual([1, 2]);
	expect(listener.events).toEqual(['live']);
});

test('a data stream that straddles the change is read whole, from the socket it began on', async () => {
	const old = server.last;
	const piece = (text: string): unknown => ({ kind: 'chunk', stream_id: 's', data: text });
	const bound = (kind: string): unknown => ({
		kind,
		channel: 'a',
		topic: 't',
		data: 's',
		created_at: timestamp()
	});
	old.send(bound('datastream-start'));
	old.send(piece('1'));
	await until(() => listener.messages.length === 2, 'the beginning');
	const [, next] = await beginChange();
	for (const socket of [old, next]) socket.send(piece('2'));
	server.answersPings = true;
	server.answerPings();
	await drained(next);
	expect(upstream.sockets).toBe(2);
	next.message('a', 't', 'between');
	await until(() => listener.data().includes('between'), 'a message in between');
	const end = bound('datastream-end');
	for (const socket of [next, old]) {
		socket.send(piece('3'));
		socket.send(end);
	}
	await until(() => upstream.sockets === 1, 'the end of the old socket');
	await until(() => !server.open.includes(old), 'its end at the server');
	await drained(next);
	expect(listener.messages.map(({ kind, data }) => `${kind} ${String(data)}`)).toEqual([
		'datastream-start s',
		'chunk 1',
		'chunk 2',
		'data between',
		'chunk 3',
		'datastream-end s'
	]);
	expect(listener.events).toEqual(['live']);
});

test('a data stream that began on both sockets is delivered once', async () => {
	const [old, next] = await beginChange();
	const start = { kind: 'datastream-start', channel: 'a', topic: 't', data: 's' };
	for (const socket of [next, old]) {
		socket.send({ ...start, created_at: '2026-01-01T00:00:00Z' });
		socket.send({ kind: 'chunk', stream_id: 's', data: '1' });
	}
	await until(() => listener.messages.length === 2, 'the beginning');
	server.answersPings = true;
	server.answerPings();
	await drained(next);
	for (const socket of [next, old]) {
		socket.send({ ...start, kind: 'datastream-end', created_at: '2026-01-01T00:00:01Z' });
	}
	await until(() => upstream.sockets === 1, 'the end of the old socket');
	await drained(next);
	expect(listener.messages.map(({ kind }) => kind)).toEqual([
		'datastream-start',
		'chunk',
		'datastream-end'
	]);
});

test('a data stream that outlives two changes is read from its first socket to its end', async () => {
	const first = server.last;
	const start = { kind: 'datastream-start', channel: 'a', topic: 't', data: 's' };
	first.send({ ...start, created_at: timestamp() });
	await until(() => listener.messages.length === 1, 'the beginning');
	for (const sockets of [2, 3]) {
		await beginChange();
		server.answersPings = true;
		server.answerPings();
		await drained(server.last);
		await until(() => upstream.sockets === 2 && server.sockets.length === sockets, 'the change');
	}
	for (const socket of [first, server.last]) {
		socket.send({ kind: 'chunk', stream_id: 's', data: '1' });
		socket.send({ ...start, kind: 'datastream-end' });
	}
	await until(() => upstream.sockets === 1, 'the end of the first socket');
	await drained(server.last);
	expect(listener.messages.map(({ kind }) => kind)).toEqual([
		'datastream-start',
		'chunk',
		'datastream-end'
	]);
});

test('a data stream that nobody listens to any more keeps no old socket', async () => {
	const other = new Recorder('b');
	const stop = upstream.listen(other);
	await other.whenLive();
	const old = server.last;
	old.send({ kind: 'datastream-start', channel: 'b', topic: 't', data: 's' });
	await until(() => other.messages.length === 1, 'the beginning');
	stop();
	await until(() => !old.topics.has('b/t'), 'the end of the subscription');
	old.closing();
	await until(() => !server.open.includes(old), 'the end of the old socket');
	await drained(server.last);
	expect(listener.events).toEqual(['live']);
});

test('a data stream that is cut with its old socket is a gap', async () => {
	const old = server.last;
	old.send({ kind: 'datastream-start', channel: 'a', topic: 't', data: 's' });
	await until(() => listener.messages.length === 1, 'the beginning');
	const other = new Recorder('b');
	upstream.listen(other);
	await other.whenLive();
	const [, next] = await beginChange();
	server.answersPings = true;
	server.answerPings();
	await drained(next);
	old.drop();
	await until(() => upstream.sockets === 1, 'the end of the old socket');
	expect(listener.events).toEqual(['live', 'gap']);
	expect(other.events).not.toContain('lost');
});

test('a next socket that closes too is let go; the first delivers until another one takes over', async () => {
	const [first, second] = await beginChange();
	second.closing();
	await until(() => server.sockets.length === 3, 'a third socket');
	const times = [timestamp(), timestamp()];
	first.message('a', 't', 1, times[0]);
	second.socket.close();
	await endChange(first);
	server.last.message('a', 't', 1, times[0]);
	server.last.message('a', 't', 2, times[1]);
	await drained(server.last);
	expect(listener.data()).toEqual([1, 2]);
	expect(listener.events).toEqual(['live']);
});

test('`closing` again, right after the change, loses and repeats nothing', async () => {
	const times = Array.from({ length: 3 }, timestamp);
	const [first, second] = await beginChange();
	first.message('a', 't', 1, times[0]);
	await until(() => listener.data().length === 1, 'the first message');
	await endChange(first);
	const [, third] = await beginChange();
	second.message('a', 't', 1, times[0]);
	second.message('a', 't', 2, times[1]);
	await until(() => listener.data().length === 2, 'the second message');
	await endChange(second);
	third.message('a', 't', 2, times[1]);
	third.message('a', 't', 3, times[2]);
	await drained(third);
	expect(listener.data()).toEqual([1, 2, 3]);
	expect(listener.events).toEqual(['live']);
});

test('`closing` while a topic is being added moves to another socket and adds it there', async () => {
	const old = server.last;
	server.onFrame = (socket) => socket !== old;
	server.answersPings = false;
	const other = new Recorder('b');
	upstream.listen(other);
	await until(() => old.heldPings.length === 1, 'a `sub` that waits');
	server.answersPings = true;
	old.closing();
	await other.whenLive();
	expect([...server.last.topics].sort()).toEqual(['a/t', 'b/t']);
	server.publish('b', 't', 1);
	await until(() => other.data().length === 1, 'a message');
	expect(listener.events).toEqual(['live']);
	expect(other.events).toEqual(['live']);
});

test('`closing` while a socket connects makes another attempt', async () => {
	server.last.drop();
	await until(() => listener.events.includes('lost'), 'the loss');
	server.onOpen = (socket) => {
		if (server.sockets.length === 2) socket.closing();
	};
	await listener.whenLive();
	expect(server.sockets).toHaveLength(3);
	expect(server.open).toHaveLength(1);
});

test('a topic added shortly before `closing` may have been ignored: a gap says so', async () => {
	const old = server.last;
	// A server that begins to close ignores `sub`, and answers pings, before it says so.
	server.onFrame = (socket) => socket !== old;
	const other = new Recorder('b');
	upstream.listen(other);
	await other.whenLive();
	expect([...old.topics]).toEqual(['a/t']);
	old.closing();
	await until(() => other.events.includes('gap'), 'the gap');
	expect(listener.events).toEqual(['live']);
	expect([...server.last.topics].sort()).toEqual(['a/t', 'b/t']);
});

test('a server that closes each socket as it opens is backed off from, and the first still delivers', async () => {
	vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
	vi.mocked(Math.random).mockReturnValue(1);
	const first = server.last;
	server.onOpen = (socket) => socket.closing();
	first.closing();
	for (const [index, delayMs] of [250, 500, 1_000, 2_000].entries()) {
		await expectNextSocketAfter(delayMs);
		await until(() => server.open.length === 1, 'the end of it');
		expect(server.sockets).toHaveLength(index + 2);
	}
	first.message('a', 't', 1);
	await until(() => listener.data().length === 1, 'a message');
	expect(listener.events).toEqual(['live']);
});

test('a server that closes each socket after it took over is backed off from', async () => {
	vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
	vi.mocked(Math.random).mockReturnValue(1);
	for (const delayMs of [250, 500, 1_000, 2_000]) {
		const old = server.last;
		old.closing();
		await expectNextSocketAfter(delayMs);
		await until(() => !server.open.includes(old), 'the change');
		await drained(server.last);
	}
	// One that lived for a while is followed at once.
	await vi.advanceTimersByTimeAsync(11_000);
	server.last.closing();
	await until(() => server.sockets.length === 6, 'the next socket');
	expect(listener.events).toEqual(['live']);
});

test('where the next socket cannot take all topics the old one stays, and holds nothing back', async () => {
	const many = Array.from({ length: 60 }, (_, index) => new Recorder(`channel-${index}`));
	for (const each of many) upstream.listen(each);
	await Promise.all(many.map((each) => each.whenLive()));
	const old = server.last;
	const asked = server.tokens.length;
	server.onToken = () => (server.tokens.length === asked + 2 ? 500 : 201);
	old.closing();
	await until(() => server.tokens.length > asked + 2, 'another attempt');
	server.publish('a', 't', 1);
	await until(() => !server.open.includes(old), 'the change');
	server.publish('a', 't', 2);
	await drained(server.last);
	expect(listener.data()).toEqual([1, 2]);
	expect(listener.events).toEqual(['live']);
	// One that could not take all was let go, with what was held back for it.
	expect(server.sockets).toHaveLength(3);
	for (const each of many) expect(each.events).not.toContain('lost');
});

test('topics that only the next socket carries are lost when that one closes too', async () => {
	const old = server.last;
	const other = new Recorder('b');
	const [, next] = await beginChange();
	// The next socket is confirmed and takes a topic more, but the old one is not yet read out.
	upstream.listen(other);
	server.answerPings();
	await until(() => next.heldPings.length === 1, 'the `sub` on the next socket');
	for (const payload of next.heldPings.splice(0)) next.socket.pong(payload);
	await other.whenLive();
	server.onUpgrade = () => false;
	next.closing();
	await until(() => !other.isLive, 'the loss');
	expect(other.events).toEqual(['live', 'lost']);
	old.message('a', 't', 1);
	await until(() => listener.data().length === 1, 'a message of the old socket');
	expect(listener.events).toEqual(['live']);
});

test('changes of topics leave no listener on any signal', async () => {
	const signals = new Set<AbortSignal>();
	const add = AbortSignal.prototype.addEventListener;
	vi.spyOn(AbortSignal.prototype, 'addEventListener').mockImplementation(function (
		this: AbortSignal,
		...args: Parameters<typeof add>
	) {
		signals.add(this);
		return add.apply(this, args);
	});
	for (let round = 0; round < 20; round++) {
		const other = new Recorder(`other:${round}`);
		const stop = upstream.listen(other);
		await other.whenLive();
		stop();
	}
	const counts = [...signals].map((signal) => getEventListeners(signal, 'abort').length);
	expect(counts.length).toBeGreaterThan(0);
	// A token request has two on a signal of its own.
	expect(Math.max(...counts)).toBeLessThanOrEqual(2);
});
