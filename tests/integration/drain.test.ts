import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import { defineEvent } from '../../src/lib/server/index.js';
import { demoChannel } from '../support/channels.js';
import { eventually } from '../support/wait.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(() => world.close());

const channels = { demo: { channel: demoChannel, authorize: () => true } };

const openMany = (count: number) =>
	Promise.all(
		Array.from({ length: count }, async () => {
			const reader = await world.open({ channel: 'demo' });
			await reader.connected();
			return reader;
		})
	);

test('streams end one after the other, without a last word, so that their pages resume', async () => {
	world = await startWorld({ channels });
	const { realtime } = world;
	const readers = await openMany(20);
	expect(realtime.ready()).toBe(true);
	const counts: number[] = [];
	const watch = setInterval(() => counts.push(realtime.stats().streams), 25);
	await realtime.drain(600);
	clearInterval(watch);
	expect(realtime.stats().streams).toBe(0);
	// Spread over the time, and not all at its end.
	expect(counts.some((count) => count > 0 && count < 20)).toBe(true);
	await Promise.all(readers.map((reader) => reader.end()));
	for (const reader of readers) expect(reader.statuses).not.toContain('degraded');
});

test('streams that leave by themselves do not make the others end sooner', async () => {
	world = await startWorld({ channels });
	const { realtime } = world;
	const readers = await openMany(20);
	const startedMs = performance.now();
	const drained = realtime.drain(600);
	for (const reader of readers.slice(0, 10)) reader.close();
	await drained;
	expect(performance.now() - startedMs).toBeGreaterThan(500);
});

test('whoever is refused meanwhile is sent elsewhere, on a connection of its own, also with several channels', async () => {
	world = await startWorld({ channels, onFailure: () => {} });
	await openMany(1);
	const drained = world.realtime.drain(60_000);
	for (const body of [{ channel: 'demo' }, { subscriptions: [{ channel: 'demo' }] }]) {
		const refused = await world.post(body);
		expect(refused.status).toBe(503);
		expect(refused.headers.get('retry-after')).not.toBeNull();
		expect(refused.headers.get('connection')).toBe('close');
	}
	world.realtime.close();
	await drained;
});

test('meanwhile and afterwards new streams are refused, and events are still handled', async () => {
	const say = defineEvent('say', { schema: z.object({}) });
	world = await startWorld({
		channels,
		onFailure: () => {},
		events: { say: { event: say, authorize: () => true, run: () => 'said' } }
	} as never);
	const { realtime } = world;
	await openMany(2);
	const drained = realtime.drain(300);
	expect(realtime.ready()).toBe(false);
	expect(realtime.accepts('critical')).toBe(false);
	const refused = await world.post({ channel: 'demo' });
	expect(refused.status).toBe(503);
	expect(refused.headers.get('retry-after')).not.toBeNull();
	const sent = await fetch(world.server.url, {
		method: 'POST',
		headers: { 'content-type': 'application/json' },
		body: JSON.stringify({ event: 'say', id: 'event-1', data: {} })
	});
	expect(sent.status).toBe(200);
	expect(sent.headers.get('connection')).toBe('close');
	// A second call joins the first.
	expect(realtime.drain(60_000)).toBe(drained);
	await drained;
	expect((await world.post({ channel: 'demo' })).status).toBe(503);
});

test('a drain of zero milliseconds ends everything at once, one without streams is over at once', async () => {
	world = await startWorld({ channels });
	await openMany(5);
	await world.realtime.drain(0);
	expect(world.realtime.stats().streams).toBe(0);
	await world.close();
	world = await startWorld({ channels });
	await world.realtime.drain();
});

test('closing ends what is being drained', async () => {
	world = await startWorld({ channels });
	await openMany(3);
	const drained = world.realtime.drain(60_000);
	world.realtime.close();
	await drained;
	await eventually(() => world.realtime.stats().streams === 0);
});

test('a value that is not a duration is refused', async () => {
	world = await startWorld({ channels });
	for (const ms of [-1, NaN, Infinity]) {
		expect(() => world.realtime.drain(ms)).toThrow(/zero or more milliseconds/);
	}
	expect(world.realtime.ready()).toBe(true);
});
