import { afterEach, beforeEach, expect, test, vi, type MockInstance } from 'vitest';
import { SETTLE_MS } from '../../src/lib/server/inngest/socket.js';
import type { RealtimeSource } from '../../src/lib/server/hub/source.js';
import { Recorder, ScriptedServer, sourceAt, until } from '../support/upstream.js';

// A runtime that has no `ws` but a WebSocket of its own, which shows no pings.
vi.mock('ws', async (original) => {
	const { WebSocket, WebSocketServer } = await original<typeof import('ws')>();
	return { WebSocket: class {}, WebSocketServer, real: WebSocket };
});

let server: ScriptedServer;
let upstream: RealtimeSource;
let drops: number;
let timeouts: MockInstance<typeof setTimeout>;

beforeEach(async () => {
	drops = 0;
	const { real } = (await import('ws')) as unknown as { real: typeof WebSocket };
	vi.stubGlobal('WebSocket', real);
	vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
	// No delay before another attempt.
	vi.spyOn(Math, 'random').mockReturnValue(0);
	timeouts = vi.spyOn(globalThis, 'setTimeout');
	server = await ScriptedServer.start();
	upstream = sourceAt(server.url, { onDrop: () => void drops++ });
});
afterEach(async () => {
	upstream.close();
	vi.restoreAllMocks();
	vi.useRealTimers();
	vi.unstubAllGlobals();
	await server.close();
});

/** Resolves when a subscription has begun to settle. */
async function settling(): Promise<void> {
	await until(() => timeouts.mock.calls.some(([, ms]) => ms === SETTLE_MS), 'a settle time');
	timeouts.mockClear();
}

async function listenLive(): Promise<Recorder> {
	const listener = new Recorder('a');
	upstream.listen(listener);
	await settling();
	await vi.advanceTimersByTimeAsync(SETTLE_MS);
	expect(listener.isLive).toBe(true);
	return listener;
}

test('a subscription is live once it had time to settle', async () => {
	const listener = new Recorder('a');
	upstream.listen(listener);
	await settling();
	await vi.advanceTimersByTimeAsync(SETTLE_MS - 1);
	expect(listener.events).toEqual([]);
	await vi.advanceTimersByTimeAsync(1);
	expect(listener.events).toEqual(['live']);
	expect(server.last.heldPings).toEqual([]);
});

test('messages arrive; frames that are binary or past the limit are counted', async () => {
	const listener = await listenLive();
	server.last.socket.send(Buffer.from('binary'));
	server.last.message('a', 't', 'x'.repeat(5 * 1024 * 1024));
	server.publish('a', 't', 1);
	await until(() => listener.messages.length === 1, 'a message');
	expect(listener.data()).toEqual([1]);
	expect(drops).toBe(2);
});

test('a lost socket is told and replaced', async () => {
	const listener = await listenLive();
	server.last.drop();
	await until(() => listener.events.includes('lost'), 'the loss');
	await settling();
	await vi.advanceTimersByTimeAsync(SETTLE_MS);
	expect(listener.events).toEqual(['live', 'lost', 'live']);
});

test('`closing` changes sockets without a loss', async () => {
	const listener = await listenLive();
	const old = server.last;
	old.closing();
	await settling();
	server.publish('a', 't', 1);
	await until(() => listener.messages.length === 1, 'a message of the old socket');
	await vi.advanceTimersByTimeAsync(SETTLE_MS);
	await settling();
	await vi.advanceTimersByTimeAsync(SETTLE_MS);
	await until(() => !server.open.includes(old), 'the end of the old socket');
	server.publish('a', 't', 2);
	await until(() => listener.messages.length === 2, 'a message of the new socket');
	expect(listener.data()).toEqual([1, 2]);
	expect(listener.events).toEqual(['live']);
});

test('a listener that leaves while the socket connects ends it', async () => {
	server.onUpgrade = () => false;
	const stop = upstream.listen(new Recorder('a'));
	await until(() => server.connections === 1, 'an upgrade');
	stop();
	await until(() => server.connections === 0, 'its end');
	await until(() => upstream.state === 'idle', 'an idle upstream');
});

test('a socket that does not open within 10 s is given up', async () => {
	server.onUpgrade = () => false;
	const listener = new Recorder('a');
	upstream.listen(listener);
	await until(() => server.connections === 1, 'an upgrade');
	await vi.advanceTimersByTimeAsync(10_000);
	await until(() => listener.events.length === 1, 'the failure');
	expect(listener.errors[0]?.message).toMatch(/Cannot connect to Inngest realtime at .*no answer/);
});

test('where there is no WebSocket at all the failure says so', async () => {
	vi.stubGlobal('WebSocket', undefined);
	const listener = new Recorder('a');
	upstream.listen(listener);
	await until(() => listener.events.length === 1, 'the failure');
	expect(listener.errors[0]?.message).toMatch(/this runtime has no WebSocket/);
});
