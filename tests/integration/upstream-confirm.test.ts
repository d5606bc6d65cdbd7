import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { startInngestDev } from '../../src/lib/dev/index.js';
import type { RealtimeSource } from '../../src/lib/server/hub/source.js';
import {
	clientAt,
	Endpoint,
	Recorder,
	ScriptedServer,
	story,
	sourceAt,
	until
} from '../support/upstream.js';

let server: ScriptedServer;
let upstream: RealtimeSource;
beforeEach(async () => {
	server = await ScriptedServer.start();
	upstream = sourceAt(server.url);
});
afterEach(async () => {
	vi.useRealTimers();
	vi.restoreAllMocks();
	upstream.close();
	await server.close();
});

async function listenLive(channel: string): Promise<Recorder> {
	const listener = new Recorder(channel);
	upstream.listen(listener);
	await listener.whenLive();
	return listener;
}

test('an open socket makes nobody live; an answered ping does', async () => {
	server.answersPings = false;
	const listener = new Recorder('a');
	upstream.listen(listener);
	await until(() => server.last?.heldPings.length === 1, 'a ping');
	expect(listener.events).toEqual([]);
	server.answerPings();
	await listener.whenLive();
	expect(listener.events).toEqual(['live']);
});

test('a socket that drops before it confirmed is a failure, and is tried again', async () => {
	server.answersPings = false;
	const listener = new Recorder('a');
	upstream.listen(listener);
	await until(() => server.last?.heldPings.length === 1, 'a ping');
	server.last.drop();
	await until(() => listener.events.length === 1, 'the failure');
	expect(listener.errors[0]?.message).toMatch(/socket to Inngest realtime was lost: code 1006/);
	server.answersPings = true;
	await listener.whenLive();
	expect(listener.events).toEqual(['failed', 'live']);
});

test('a socket that drops before a `sub` is confirmed takes nobody live with it', async () => {
	const first = await listenLive('a');
	server.answersPings = false;
	const second = new Recorder('b');
	upstream.listen(second);
	await until(() => server.last.heldPings.length === 1, 'a ping');
	server.last.drop();
	await until(() => second.events.length > 0, 'the failure');
	expect(second.events).toEqual(['failed']);
	expect(first.events).toEqual(['live', 'lost']);
	server.answersPings = true;
	await Promise.all([first.whenLive(), second.whenLive()]);
});

test('a `sub` whose token is refused fails those who wait for it and nobody else', async () => {
	const first = await listenLive('a');
	server.onToken = () => 403;
	const second = new Recorder('b');
	upstream.listen(second);
	await until(() => second.events.length > 0, 'the failure');
	expect(second.errors[0]?.message).toMatch(/refused a realtime token.*403/);
	server.publish('a', 't', 1);
	await until(() => first.data().length === 1, 'a message');
	expect(first.events).toEqual(['live']);
	expect(second.isLive).toBe(false);
	server.onToken = () => 201;
	await second.whenLive();
	expect(server.sockets).toHaveLength(1);
});

test('a `sub` that is not confirmed within 10 s ends the socket', async () => {
	const first = await listenLive('a');
	vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
	server.answersPings = false;
	const second = new Recorder('b');
	upstream.listen(second);
	await until(() => server.last.heldPings.length === 1, 'a ping');
	await vi.advanceTimersByTimeAsync(9_999);
	expect(first.events).toEqual(['live']);
	await vi.advanceTimersByTimeAsync(1);
	expect(first.events).toEqual(['live', 'lost']);
	expect(second.events).toEqual(['failed']);
	expect(second.errors[0]?.message).toMatch(/no answer for 10 s/);
});

test('a name that fits into no frame fails its listener, and costs nobody the socket', async () => {
	const first = await listenLive('a');
	const long = new Recorder('<'.repeat(5_000));
	const stop = upstream.listen(long);
	await until(() => long.events.length === 1, 'the failure');
	expect(long.errors[0]?.message).toMatch(/too long for Inngest/);
	stop();
	await listenLive('b');
	expect(first.events).toEqual(['live']);
	expect(server.tokens).toHaveLength(2);
	expect(server.sockets).toHaveLength(1);
});

test('nobody hears messages before it is told that it is live', async () => {
	server.answersPings = false;
	server.onOpen = (socket) => socket.message('a', 't', 'early');
	const listener = new Recorder('a');
	upstream.listen(listener);
	await until(() => server.last?.heldPings.length === 1, 'a ping');
	server.answerPings();
	await listener.whenLive();
	server.publish('a', 't', 'late');
	await until(() => listener.data().includes('late'), 'a message');
	expect(listener.data()).toEqual(['late']);
});

test('the first `connected` of a busy channel is preceded by no resync', async () => {
	server.onOpen = (socket) => socket.message('demo', 'message', { message: 'early' });
	const endpoint = await Endpoint.start(clientAt(server.url));
	const stream = await endpoint.open({ channel: 'demo' });
	await stream.connected();
	server.publish('demo', 'message', { message: 'late' });
	await stream.when(() => stream.messages.length === 1, 'a message');
	expect(story(stream)).toEqual(['connecting', 'connected', 'late']);
	await endpoint.close();
});

test('a stream is `connecting` until the engine has handled its `sub`, and not a moment less', async () => {
	const engine = await startInngestDev();
	const endpoint = await Endpoint.start(clientAt(engine.url));
	const first = await endpoint.open({ channel: 'demo' });
	await first.connected();
	engine.holdPongs(true);
	const second = await endpoint.open({ channel: 'user:1' });
	await second.when(() => second.statuses.length === 1, 'the first frame');
	engine.publish({ channel: 'demo', topic: 'message', data: { message: 'meanwhile' } });
	await first.when(() => first.messages.length === 1, 'a message');
	expect(second.statuses).toEqual(['connecting']);
	expect(engine.subscriptions).toBe(2);
	engine.holdPongs(false);
	await second.connected();
	expect(engine.subscriptions).toBe(3);
	await endpoint.close();
	await engine.close();
});
