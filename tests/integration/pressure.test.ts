import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import { defineEvent } from '../../src/lib/server/index.js';
import { getRealtimeBusState } from '../../src/lib/client/hooks/state.js';
import { createRealtimeBus } from '../../src/lib/client/standalone.js';
import { demoChannel, userChannel } from '../support/channels.js';
import { sum } from '../support/metrics.js';
import { eventually } from '../support/wait.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(() => world.close());

const byName = (_event: unknown, id: string): string => (id.startsWith('user:') ? id.slice(5) : '');

const channels = {
	demo: { channel: demoChannel, authorize: () => true },
	user: {
		channel: userChannel,
		channelParams: byName,
		authorize: () => true,
		priority: 'critical' as const
	}
};

/** Megabytes that stand `factor` times below what the process uses. */
const below = (factor: number): number => process.memoryUsage.rss() / 1024 / 1024 / factor;

test('past a limit new streams are refused with 503 and `Retry-After`; critical ones last', async () => {
	world = await startWorld({
		channels,
		onFailure: () => {},
		limits: { pressure: { rssMb: below(1.4) } }
	});
	const refused = await world.post({ channel: 'demo' });
	expect(refused.status).toBe(503);
	expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
	expect(refused.body.error).toContain('busy');
	await (await world.open({ channel: 'user:1' })).connected();
	const { realtime } = world;
	expect(realtime.accepts('critical')).toBe(true);
	expect(realtime.accepts('normal')).toBe(false);
	expect(realtime.accepts('background')).toBe(false);
	expect(realtime.ready()).toBe(false);
	expect(realtime.stats().pressure.level).toBeGreaterThan(1);
});

test('near a limit only background work is refused', async () => {
	world = await startWorld({
		channels,
		onFailure: () => {},
		limits: { pressure: { rssMb: below(0.9) } }
	});
	expect(world.realtime.accepts('background')).toBe(false);
	expect(world.realtime.accepts('normal')).toBe(true);
	expect(world.realtime.ready()).toBe(true);
	await (await world.open({ channel: 'demo' })).connected();
});

test('far past a limit everything new is refused, of several channels each by itself', async () => {
	world = await startWorld({
		channels,
		onFailure: () => {},
		limits: { pressure: { rssMb: below(3) } }
	});
	expect((await world.post({ channel: 'user:1' })).status).toBe(503);
	expect(world.realtime.accepts('critical')).toBe(false);
});

test('in a request for several channels those of less priority are refused, to be tried again', async () => {
	world = await startWorld({
		channels,
		onFailure: () => {},
		limits: { pressure: { rssMb: below(1.4) } }
	});
	const reader = await world.open({
		subscriptions: [{ channel: 'demo' }, { channel: 'user:1' }]
	});
	await reader.connected('user:1');
	await reader.when(() => reader.health('demo').length === 1);
	expect(reader.health('demo')[0]).toMatchObject({
		status: 'degraded',
		stage: 'admission',
		code: 503,
		fatal: false
	});
});

test('events are refused by their own priority', async () => {
	const schema = z.object({});
	const low = defineEvent('low', { schema });
	const high = defineEvent('high', { schema });
	const config = { authorize: () => true, run: () => undefined };
	world = await startWorld({
		channels,
		onFailure: () => {},
		limits: { pressure: { rssMb: below(1.4) } },
		events: {
			low: { event: low, ...config },
			high: { event: high, ...config, priority: 'critical' }
		}
	} as never);
	const send = (event: string): Promise<Response> =>
		fetch(world.server.url, {
			method: 'POST',
			headers: { 'content-type': 'application/json' },
			body: JSON.stringify({ event, id: `id-of-${event}`, data: {} })
		});
	const refused = await send('low');
	expect(refused.status).toBe(503);
	expect(refused.headers.get('retry-after')).not.toBeNull();
	expect((await send('high')).status).toBe(200);
});

test('while the event loop is blocked again and again open streams lose nothing and are told', async () => {
	world = await startWorld({
		channels,
		healthCheck: { intervalMs: 100 },
		limits: { pressure: { eventLoopDelayMs: 90 } }
	});
	const { realtime } = world;
	// A busy machine may be late by itself.
	await eventually(() => realtime.ready());
	const reader = await world.open({ channel: 'demo' });
	await reader.connected();
	const page = createRealtimeBus({ endpoint: world.server.url });
	const onPage: string[] = [];
	page.subscribe(
		demoChannel,
		{ topics: ['message'] },
		({ data }) => void onPage.push(data.message)
	);
	const { health } = getRealtimeBusState(demoChannel, { bus: page });
	await eventually(() => health.current.ok);
	const expected: string[] = [];
	for (let n = 0; n < 5; n++) {
		const until = performance.now() + 200;
		while (performance.now() < until);
		for (let m = 0; m < 20; m++) {
			expected.push(`${n}.${m}`);
			await world.publish('demo', 'message', { message: `${n}.${m}` });
		}
		await new Promise((resolve) => setTimeout(resolve, 50));
	}
	expect(realtime.ready()).toBe(false);
	expect(sum(realtime, 'pressure')).toBeGreaterThan(1);
	expect(sum(realtime, 'event_loop_delay_seconds')).toBeGreaterThan(0.09);
	await reader.when(() => reader.messages.length === expected.length);
	expect(reader.texts).toEqual(expected);
	await reader.until(({ event, data }) => event === 'health' && /busy/.test(data.detail ?? ''));
	await eventually(() => /busy/.test(health.current.detail ?? ''));
	await eventually(() => onPage.length === expected.length);
	expect(onPage).toEqual(expected);
	expect(reader.ended).toBe(false);
	// It recovers by itself.
	await eventually(() => realtime.ready());
	await eventually(() => health.current.detail === undefined);
	page.close();
});

test('limits that make no sense are refused', async () => {
	world = await startWorld({ channels, onFailure: () => {} });
	const start = (limits: object): Promise<World> => startWorld({ channels, limits } as never);
	await expect(start({ pressure: { rssMb: -1 } })).rejects.toThrow(/limits\.pressure\.rssMb/);
	await expect(start({ pressure: { eventLoopDelayMs: NaN } })).rejects.toThrow(/eventLoopDelayMs/);
	await expect(start({ pressure: { heapUsedMB: 500 } })).rejects.toThrow(/heapUsedMB.*heapUsedMb/);
	await expect(start({ pressure: 7 })).rejects.toThrow(/limits\.pressure/);
	await expect(
		startWorld({
			channels: { demo: { ...channels.demo, priority: 'urgent' } }
		} as never)
	).rejects.toThrow(/priority/);
});

test('a limit that is left undefined limits nothing', async () => {
	world = await startWorld({
		channels,
		limits: { pressure: { rssMb: undefined, heapUsedMb: 1_000_000 } }
	});
	expect(world.realtime.ready()).toBe(true);
	expect(world.realtime.stats().pressure.level).toBeLessThan(0.8);
	await (await world.open({ channel: 'demo' })).connected();
});

test('`accepts` refuses what is no priority, with and without limits', async () => {
	for (const limits of [{}, { pressure: { rssMb: 1_000_000 } }]) {
		world = await startWorld({ channels, limits });
		expect(() => world.realtime.accepts('urgent' as never)).toThrow(
			expect.objectContaining({
				code: 'INVALID_OPTION',
				message: expect.stringMatching(/critical.*normal.*background.*"urgent"/)
			})
		);
		await world.close();
	}
});
