import { channel, topic } from '@inngest/realtime';
import { afterEach, describe, expect, test } from 'vitest';
import { MemoryReplayStore } from '../../src/lib/server/index.js';
import { RawClient } from '../support/raw.js';
import { eventually } from '../support/wait.js';
import { startWorld, type World } from '../support/world.js';

const job = channel('job')
	.addTopic(topic('progress').type<{ percent: number; text: string }>())
	.addTopic(topic('step').type<{ name: string }>());

let world: World | undefined;
let client: RawClient | undefined;
afterEach(async () => {
	client?.leave();
	client = undefined;
	await world?.close();
	world = undefined;
});

test('a reader that stalls gets the newest value, and everything of the other topics', async () => {
	world = await startWorld({
		channels: {
			job: { channel: job, authorize: () => true, source: false, latest: { progress: true } }
		}
	});
	const { realtime, server } = world;
	client = await RawClient.open(server.url);
	client.post({ channel: 'job' });
	await eventually(() => client!.text.includes('"connected"'));
	client.stall();
	const text = 'x'.repeat(20_000);
	for (let percent = 1; percent <= 3_000; percent++) {
		await realtime.emit(job().progress, { percent, text });
		if (percent % 1_000 === 0) await realtime.emit(job().step, { name: `step ${percent}` });
		await new Promise(setImmediate);
	}
	expect(realtime.stats()).toMatchObject({ slowReaders: 0, streams: 1 });
	// The log keeps one value, beside the steps.
	expect(realtime.stats().hub.replay.events).toBe(4);
	client.resume();
	await eventually(() => client!.text.includes('"percent":3000'));
	const percents = [...client.text.matchAll(/"percent":(\d+)/g)].map(([, percent]) =>
		Number(percent)
	);
	expect(percents.length).toBeLessThan(2_000);
	expect(percents).toEqual([...percents].sort((a, b) => a - b));
	expect([...client.text.matchAll(/step \d+/g)].map(([name]) => name)).toEqual([
		'step 1000',
		'step 2000',
		'step 3000'
	]);
	expect(client.text).not.toContain('event: resync');
	// What comes afterwards comes as usual.
	await realtime.emit(job().progress, { percent: 3_001, text: '' });
	await eventually(() => client!.text.includes('"percent":3001'));
});

describe('the log in memory', () => {
	const event = (topic: string, n: number) => ({
		key: `${topic} ${n}`,
		kind: 'message' as const,
		topic,
		payload: String(n)
	});

	test('keeps the newest of a latest-value topic, and its order among the others', () => {
		const store = new MemoryReplayStore({ maxEvents: 10 });
		store.limit('log', { latest: ['gauge'] });
		const { first } = store.bounds('log');
		const cursors = ['a', 'gauge', 'b', 'gauge', 'c'].flatMap((topic, n) =>
			store.append('log', [event(topic, n)])
		);
		const read = (cursor: string, limit?: number) => store.since('log', cursor, limit);
		expect(read(first).events.map(({ payload }) => payload)).toEqual(['0', '2', '3', '4']);
		expect(read(first).missed).toBeUndefined();
		expect(read(cursors[1]!).events.map(({ payload }) => payload)).toEqual(['2', '3', '4']);
		expect(read(first, 2)).toMatchObject({ more: true });
		expect(read(read(first, 2).events[1]!.cursor).events.map(({ payload }) => payload)).toEqual([
			'3',
			'4'
		]);
	});

	test('values that are superseded neither take memory nor push others out', () => {
		const store = new MemoryReplayStore({ maxEvents: 3, maxBytes: 10_000 });
		store.limit('log', { latest: ['gauge'] });
		const { first } = store.bounds('log');
		store.append('log', [event('a', 1), event('b', 2)]);
		for (let n = 0; n < 10_000; n++) store.append('log', [event('gauge', n)]);
		expect(store.size.events).toBe(3);
		expect(store.size.bytes).toBeLessThan(1_000);
		const slice = store.since('log', first);
		expect(slice.missed).toBeUndefined();
		expect(slice.events.map(({ payload }) => payload)).toEqual(['1', '2', '9999']);
		store.append('log', [event('c', 3), event('d', 4)]);
		expect(store.since('log', first)).toMatchObject({ missed: 'expired' });
		expect(store.since('log', slice.events[2]!.cursor).events).toHaveLength(2);
		store.clear('log');
		expect(store.size).toEqual({ events: 0, bytes: 0 });
	});
});
