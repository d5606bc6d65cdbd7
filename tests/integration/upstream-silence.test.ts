import { once } from 'node:events';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { RealtimeSource } from '../../src/lib/server/hub/source.js';
import { Recorder, ScriptedServer, sourceAt, until } from '../support/upstream.js';

let server: ScriptedServer;
let upstream: RealtimeSource;
let listener: Recorder;
beforeEach(async () => {
	server = await ScriptedServer.start();
	vi.useFakeTimers({
		toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance', 'Date']
	});
	upstream = sourceAt(server.url);
	listener = new Recorder('a');
	upstream.listen(listener);
	await listener.whenLive();
});
afterEach(async () => {
	upstream.close();
	vi.useRealTimers();
	await server.close();
});

test('a socket that is silent for 45 s is dead, and another one is opened', async () => {
	const silent = server.last;
	await vi.advanceTimersByTimeAsync(44_000);
	expect(listener.events).toEqual(['live']);
	await vi.advanceTimersByTimeAsync(6_000);
	expect(listener.events).toEqual(['live', 'lost']);
	expect(listener.errors[0]?.message).toMatch(/silent for 45 s/);
	await until(() => !server.open.includes(silent), 'its end at the server');
	await vi.advanceTimersByTimeAsync(300);
	await listener.whenLive();
});

test('pings of the server keep a quiet socket alive', async () => {
	const { socket } = server.last;
	for (let minutes = 0; minutes < 5; minutes++) {
		for (let quarter = 0; quarter < 4; quarter++) {
			await vi.advanceTimersByTimeAsync(15_000);
			const answered = once(socket, 'pong');
			socket.ping();
			await answered;
		}
	}
	expect(listener.events).toEqual(['live']);
});

test('messages keep a socket alive that sends no pings', async () => {
	for (let count = 1; count <= 5; count++) {
		await vi.advanceTimersByTimeAsync(30_000);
		server.publish('a', 't', count);
		await until(() => listener.messages.length === count, 'a message');
	}
	expect(listener.events).toEqual(['live']);
});

test('a closing socket that falls silent before the change is dead too', async () => {
	const old = server.last;
	server.onUpgrade = () => false;
	old.closing();
	for (let count = 0; count < 10; count++) await vi.advanceTimersByTimeAsync(5_000);
	await until(() => listener.events.includes('lost'), 'the loss');
	expect(listener.events).toEqual(['live', 'lost']);
});

test('a clock that is set forward drops no healthy socket', async () => {
	vi.setSystemTime(Date.now() + 3_600_000);
	await vi.advanceTimersByTimeAsync(20_000);
	server.publish('a', 't', 1);
	await until(() => listener.messages.length === 1, 'a message');
	expect(listener.events).toEqual(['live']);
});

test('a clock that is set back hides no dead socket', async () => {
	vi.setSystemTime(Date.now() - 3_600_000);
	await vi.advanceTimersByTimeAsync(50_000);
	expect(listener.events).toEqual(['live', 'lost']);
});
