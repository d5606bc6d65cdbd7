import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { defineEvent, type RealtimePriority } from '../../src/lib/server/index.js';
import { createTestRealtime, type TestRealtime } from '../../src/lib/testing/index.js';
import { demoChannel } from '../support/channels.js';

const MEGABYTE = 1024 * 1024;
const PRIORITIES = ['critical', 'normal', 'background'] as const;

/** What the process is said to use. */
let heapUsedMb: number;
let rssMb: number;
let utilization: number;
let realtime: TestRealtime;

beforeEach(() => {
	[heapUsedMb, rssMb, utilization] = [0, 0, 0];
	vi.spyOn(process, 'memoryUsage').mockImplementation((() => ({
		heapUsed: heapUsedMb * MEGABYTE,
		rss: rssMb * MEGABYTE
	})) as never);
	// The types of browsers do not have it.
	const eventLoop = performance as unknown as { eventLoopUtilization(): object };
	vi.spyOn(eventLoop, 'eventLoopUtilization').mockImplementation(() => ({ utilization }));
	vi.useFakeTimers();
});
afterEach(() => {
	realtime.close();
	vi.restoreAllMocks();
	vi.useRealTimers();
});

const say = defineEvent('say', { schema: z.object({}) });
const events = { authorize: () => true, run: () => 'said' };

function start(pressure: object): TestRealtime {
	return createTestRealtime({
		channels: { demo: { channel: demoChannel, authorize: () => true } },
		limits: { pressure }
	});
}

const taken = (): RealtimePriority[] => PRIORITIES.filter((priority) => realtime.accepts(priority));

/** Lets the process be measured. */
const measure = (): unknown => vi.advanceTimersByTime(1_000);

test.each([
	['heapUsedMb', 0.25, (value: number) => (heapUsedMb = value)],
	['rssMb', 512.5, (value: number) => (rssMb = value)],
	['eventLoopUtilization', 0.4, (value: number) => (utilization = value)]
])('`%s` alone refuses by priority, critical ones last', (name, limit, use) => {
	realtime = start({ [name]: limit });
	for (const [part, expected] of [
		[0.79, PRIORITIES],
		[0.81, ['critical', 'normal']],
		[1.01, ['critical']],
		[2.01, []]
	] as const) {
		use(part * limit);
		measure();
		expect(taken(), `${part}`).toEqual(expected);
		expect(realtime.stats().pressure.level).toBeCloseTo(part);
	}
});

test('`eventLoopDelayMs` alone refuses for as long as a delay counts', () => {
	realtime = start({ eventLoopDelayMs: 0.5 });
	measure();
	expect(taken()).toEqual(PRIORITIES);
	// The clock goes on, and timers do not run.
	const now = performance.now();
	const clock = vi.spyOn(performance, 'now').mockReturnValue(now + 101);
	vi.advanceTimersByTime(100);
	clock.mockRestore();
	expect(taken()).toEqual([]);
	vi.advanceTimersByTime(1_000);
	expect(taken()).toEqual([]);
	vi.advanceTimersByTime(2_000);
	expect(taken()).toEqual(PRIORITIES);
});

test('a process at its limit does not change its mind until it is well below it', () => {
	realtime = start({ heapUsedMb: 100 });
	const seen: boolean[] = [];
	for (heapUsedMb of [99, 100, 99, 101, 91, 99, 89, 91, 99, 100, 89]) {
		measure();
		seen.push(realtime.ready());
	}
	expect(seen).toEqual([true, false, false, false, false, false, true, true, true, false, true]);
});

test('the nearest of several limits counts', () => {
	realtime = start({ heapUsedMb: 100, rssMb: 1_000, eventLoopDelayMs: undefined });
	[heapUsedMb, rssMb] = [10, 1_000];
	measure();
	expect(taken()).toEqual(['critical']);
});

test.each(['critical', 'normal', 'background'] as const)(
	'streams and events of priority %s are refused with 503 and `Retry-After`, and taken again',
	async (priority) => {
		vi.useRealTimers();
		vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
		realtime = createTestRealtime({
			channels: { demo: { channel: demoChannel, authorize: () => true, priority } },
			events: { say: { event: say, ...events, priority } },
			onFailure: () => {},
			limits: { pressure: { heapUsedMb: 100 } }
		});
		const ask = async (body: object): Promise<Response> => {
			const response = await realtime.fetch('/api/events', {
				method: 'POST',
				body: JSON.stringify(body)
			});
			await response.body?.cancel();
			return response;
		};
		const bodies = [{ channel: 'demo' }, { event: 'say', id: 'an-event-1', data: {} }];
		heapUsedMb = { critical: 200, normal: 100, background: 80 }[priority];
		measure();
		for (const body of bodies) {
			const refused = await ask(body);
			expect(refused.status).toBe(503);
			expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
		}
		heapUsedMb = 10;
		measure();
		for (const body of bodies) expect((await ask(body)).status).toBe(200);
	}
);

test.each([
	[{ heapUsedMb: NaN }, '`limits.pressure.heapUsedMb` must be a positive number, not NaN.'],
	[{ rssMb: -1 }, '`limits.pressure.rssMb` must be a positive number, not -1.'],
	[{ eventLoopDelayMs: 0 }, '`limits.pressure.eventLoopDelayMs` must be a positive number, not 0.'],
	[
		{ eventLoopDelayMs: '200' },
		'`limits.pressure.eventLoopDelayMs` must be a positive number, not "200".'
	],
	[{ heapUsedMb: null }, '`limits.pressure.heapUsedMb` must be a positive number, not null.'],
	[
		{ eventLoopUtilization: 80 },
		'`limits.pressure.eventLoopUtilization` must be a part of the time, 0 to 1, not 80.'
	],
	[
		{ heapUsedMB: 1 },
		'`limits.pressure.heapUsedMB` is not a limit: use eventLoopDelayMs, eventLoopUtilization, heapUsedMb, rssMb.'
	]
])('%j is refused with a text that says why', (pressure, message) => {
	realtime = start({});
	expect(() => start(pressure)).toThrow(
		expect.objectContaining({ code: 'INVALID_OPTION', message })
	);
});
