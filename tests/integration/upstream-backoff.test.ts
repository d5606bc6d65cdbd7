import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { RealtimeSource } from '../../src/lib/server/hub/source.js';
import { Recorder, ScriptedServer, sourceAt, until } from '../support/upstream.js';

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

/** Jitter gives this part of the longest delay. */
function fixJitter(part: number): void {
	vi.spyOn(Math, 'random').mockReturnValue(part);
}

/** Expects the attempt after the failure that `listener` was told last about `delayMs` later. */
async function expectAttemptAfter(delayMs: number, listener: Recorder): Promise<void> {
	const attempts = server.tokens.length;
	const failures = listener.events.length;
	await vi.advanceTimersByTimeAsync(delayMs - 5);
	await new Promise(setImmediate);
	expect(server.tokens).toHaveLength(attempts);
	if (upstream.sockets === 0) expect(upstream.state).toBe('waiting');
	await vi.advanceTimersByTimeAsync(10);
	await until(() => listener.events.length > failures, 'another attempt');
	expect(server.tokens).toHaveLength(attempts + 1);
	await new Promise(setImmediate);
}

test('attempts are spaced exponentially, with full jitter and a longest delay', async () => {
	vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
	server.onToken = () => 500;
	fixJitter(1);
	const listener = new Recorder('a');
	upstream.listen(listener);
	await until(() => listener.events.length === 1, 'the first failure');
	for (const delayMs of [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000]) {
		await expectAttemptAfter(delayMs, listener);
	}
	fixJitter(0.1);
	await expectAttemptAfter(30_000, listener);
	await expectAttemptAfter(3_000, listener);
});

test('a listener that comes during a back-off is served when that ends, though all others left', async () => {
	fixJitter(0.9);
	server.onToken = () => 500;
	const first = new Recorder('first');
	const stop = upstream.listen(first);
	await until(() => first.events.length === 1, 'the first failure');
	stop();
	// The upstream sees to it after the current input.
	await new Promise(setImmediate);
	server.onToken = () => 201;
	const second = new Recorder('second');
	upstream.listen(second);
	await second.whenLive();
});

test('once a stable socket takes topics again, earlier failures no longer count', async () => {
	vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
	fixJitter(1);
	const first = new Recorder('first');
	upstream.listen(first);
	await first.whenLive();
	await vi.advanceTimersByTimeAsync(11_000);
	server.onToken = () => 500;
	const second = new Recorder('second');
	upstream.listen(second);
	await until(() => second.events.length === 1, 'a refusal');
	await expectAttemptAfter(250, second);
	await expectAttemptAfter(500, second);
	await expectAttemptAfter(1_000, second);
	server.onToken = () => 201;
	await vi.advanceTimersByTimeAsync(2_001);
	await second.whenLive();
	server.onToken = () => 500;
	const third = new Recorder('third');
	upstream.listen(third);
	await until(() => third.events.length === 1, 'another refusal');
	await expectAttemptAfter(250, third);
});

test('a clock that is set back makes nobody wait longer', async () => {
	vi.useFakeTimers({ toFake: ['Date'] });
	fixJitter(0.9);
	server.onToken = () => 500;
	const listener = new Recorder('a');
	upstream.listen(listener);
	await until(() => listener.events.length === 1, 'a failure');
	server.onToken = () => 201;
	vi.setSystemTime(Date.now() - 3_600_000);
	await listener.whenLive();
});

test('a clock that is set forward makes nobody hammer a server that refuses', async () => {
	vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] });
	fixJitter(1);
	server.onToken = () => 500;
	const listener = new Recorder('a');
	upstream.listen(listener);
	await until(() => listener.events.length === 1, 'a failure');
	vi.setSystemTime(Date.now() + 3_600_000);
	upstream.listen(new Recorder('b'));
	await expectAttemptAfter(250, listener);
});

test('a server that takes each socket and drops it is backed off from', async () => {
	vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
	fixJitter(1);
	const listener = new Recorder('a');
	upstream.listen(listener);
	await listener.whenLive();
	for (const delayMs of [250, 500, 1_000, 2_000]) {
		const count = server.sockets.length;
		server.last.drop();
		await until(() => !listener.isLive && upstream.state === 'waiting', 'the loss');
		await new Promise(setImmediate);
		await vi.advanceTimersByTimeAsync(delayMs - 5);
		await new Promise(setImmediate);
		expect(upstream.state).toBe('waiting');
		await vi.advanceTimersByTimeAsync(10);
		await listener.whenLive();
		expect(server.sockets).toHaveLength(count + 1);
	}
	// One that lasts ends the count.
	await vi.advanceTimersByTimeAsync(11_000);
	server.last.drop();
	await until(() => !listener.isLive && upstream.state === 'waiting', 'the loss');
	await new Promise(setImmediate);
	await vi.advanceTimersByTimeAsync(255);
	await listener.whenLive();
});
