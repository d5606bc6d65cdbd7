import { AggregatorRegistry, Registry } from 'prom-client';
import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import { defineEvent, memoryBackend, RealtimeDenied } from '../../src/lib/server/index.js';
import { collect, CONTENT_TYPE, serialize } from '../../src/lib/prometheus/index.js';
import { demoChannel, userChannel } from '../support/channels.js';
import { readExposition, type ExposedMetric } from '../support/exposition.js';
import { sum } from '../support/metrics.js';
import { eventually } from '../support/wait.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(() => world.close());

const channels = {
	demo: { channel: demoChannel, authorize: () => true },
	user: {
		channel: userChannel,
		channelParams: (_event: unknown, id: string) => (id.startsWith('user:') ? id.slice(5) : ''),
		authorize: ({ channelId }: { channelId: string }) => {
			if (channelId === 'user:mallory') throw new RealtimeDenied('Not you.');
			return true;
		}
	}
};

test('streams, messages and authorizations are counted by registry entry', async () => {
	world = await startWorld({ channels, onFailure: () => {} });
	const { realtime } = world;
	const reader = await world.open({ channel: 'demo' });
	await reader.connected();
	await world.publish('demo', 'message', { message: 'a' });
	await world.publish('demo', 'message', { message: 'b' });
	await world.publish('demo', 'message', { wrong: true });
	await reader.when(() => reader.messages.length === 2);
	expect((await world.post({ channel: 'user:mallory' })).status).toBe(403);
	expect((await world.post({ channel: 'nobody knows "this"' })).status).toBe(400);

	expect(sum(realtime, 'streams')).toBe(1);
	expect(sum(realtime, 'streams_opened_total')).toBe(1);
	expect(sum(realtime, 'deliveries_total')).toBeGreaterThanOrEqual(1);
	expect(sum(realtime, 'delivered_bytes_total')).toBe(realtime.stats().bytes);
	expect(realtime.stats().bytes).toBeGreaterThan(200);
	expect(sum(realtime, 'feeds')).toBe(1);
	expect(sum(realtime, 'source_up', { source: 'inngest' })).toBe(1);
	expect(sum(realtime, 'source_connections_total', { source: 'inngest' })).toBe(1);
	expect(sum(realtime, 'upstream_tokens_total', { outcome: 'given' })).toBe(1);
	expect(sum(realtime, 'messages_total', { channel: 'demo' })).toBe(2);
	expect(sum(realtime, 'message_lag_seconds_count', { channel: 'demo' })).toBe(2);
	expect(sum(realtime, 'message_lag_seconds_bucket', { channel: 'demo', le: '+Inf' })).toBe(2);
	await eventually(() => sum(realtime, 'drops_total', { cause: 'invalid' }) === 1);
	const authorized = { channel: 'demo', outcome: 'allowed' };
	expect(sum(realtime, 'authorizations_total', authorized)).toBe(1);
	const denied = { channel: 'user', outcome: 'denied' };
	expect(sum(realtime, 'authorizations_total', denied)).toBe(1);
	expect(sum(realtime, 'authorization_duration_seconds_count', { channel: 'user' })).toBe(1);
	expect(sum(realtime, 'failures_total', { stage: 'authorization', status: '403' })).toBe(1);

	reader.close();
	await eventually(() => sum(realtime, 'streams_closed_total', { reason: 'left' }) === 1);
	expect(sum(realtime, 'streams')).toBe(0);
	expect(sum(realtime, 'stream_duration_seconds_count')).toBe(1);
});

test('resyncs are counted by reason, replays and reconnects by what they are', async () => {
	world = await startWorld({ channels, onFailure: () => {} });
	const { realtime } = world;
	const reader = await world.open({ channel: 'demo' });
	await reader.connected();
	await world.publish('demo', 'message', { message: 'a' });
	await reader.when(() => reader.messages.length === 1);
	const again = await world.open({ channel: 'demo', lastEventId: reader.lastId });
	await again.connected();
	const stranger = await world.open({ channel: 'demo', lastEventId: 'elsewhere-7' });
	await stranger.connected();
	expect(sum(realtime, 'replays_total', { channel: 'demo' })).toBe(2);
	expect(sum(realtime, 'resyncs_total', { channel: 'demo', reason: 'restart' })).toBe(1);
	world.engine.dropSockets();
	await reader.until(({ event }) => event === 'resync');
	await eventually(
		() => sum(realtime, 'resyncs_total', { channel: 'demo', reason: 'upstream-gap' }) === 3
	);
	expect(sum(realtime, 'source_connections_total', { source: 'inngest' })).toBe(2);
});

test('events of pages are counted by name and outcome, unknown names as `other`', async () => {
	const say = defineEvent('say', { schema: z.object({ text: z.string() }) });
	world = await startWorld({
		channels,
		onFailure: () => {},
		limits: { rate: { points: 3, intervalMs: 60_000 } },
		events: { say: { event: say, authorize: () => true, run: () => undefined } }
	} as never);
	const { realtime, server } = world;
	const send = (body: object): Promise<Response> =>
		fetch(server.url, {
			method: 'POST',
			headers: { 'content-type': 'application/json' },
			body: JSON.stringify(body)
		});
	expect((await send({ event: 'say', id: 'event-1', data: { text: 'hi' } })).status).toBe(200);
	expect((await send({ event: 'say', id: 'event-2', data: {} })).status).toBe(422);
	expect((await send({ event: 'drop table "x"', id: 'event-3', data: {} })).status).toBe(400);
	expect(sum(realtime, 'client_events_total', { event: 'say', outcome: 'done' })).toBe(1);
	expect(sum(realtime, 'client_events_total', { event: 'say', outcome: 'refused' })).toBe(1);
	expect(sum(realtime, 'client_events_total', { event: 'other', outcome: 'refused' })).toBe(1);
	expect(sum(realtime, 'client_event_duration_seconds_count', { event: 'say' })).toBe(2);
	expect(serialize(realtime)).not.toContain('drop table');
});

test('senders that do too much are counted by kind', async () => {
	world = await startWorld({
		channels,
		onFailure: () => {},
		limits: { rate: { points: 1, intervalMs: 60_000, key: () => 'all' } }
	});
	await (await world.open({ channel: 'demo' })).connected();
	expect((await world.post({ channel: 'demo' })).status).toBe(429);
	expect(sum(world.realtime, 'rate_limited_total', { kind: 'stream' })).toBe(1);
});

test('a registry of a metrics library shows them at each scrape, also after a second call', async () => {
	world = await startWorld({ channels, onFailure: () => {} });
	const { realtime } = world;
	const register = new Registry();
	collect(realtime, { register });
	const remove = collect(realtime, { register, labels: { app: 'shop' } });
	expect(await register.metrics()).toContain('realtime_streams{app="shop"} 0');
	const reader = await world.open({ channel: 'user:a"b' });
	await reader.connected();
	await world.publish('user:a"b', 'message', { message: 'a' });
	await reader.when(() => reader.messages.length === 1);
	const text = await register.metrics();
	expect(text).toContain('realtime_streams{app="shop"} 1');
	expect(text).toContain('realtime_messages_total{app="shop",channel="user"} 1');
	expect(text).toContain('# TYPE realtime_message_lag_seconds histogram');
	expect(text).toMatch(/realtime_message_lag_seconds_bucket\{.*le="0\.001".*\} [01]/);
	expect(text).not.toContain('a"b');
	remove();
	expect(await register.metrics()).not.toContain('realtime_');
});

test('without a metrics library the text is what Prometheus reads', async () => {
	world = await startWorld({ channels, onFailure: () => {} });
	await (await world.open({ channel: 'demo' })).connected();
	const text = serialize(world.realtime, { prefix: 'live_', labels: { app: 'a "shop"\n' } });
	expect(text).toContain('# TYPE live_streams gauge\nlive_streams{app="a \\"shop\\"\\n"} 1\n');
	expect(text.endsWith('\n')).toBe(true);
	expect(CONTENT_TYPE).toContain('0.0.4');
	const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
	expect(new Set(names).size).toBe(names.length);
	for (const line of text.trim().split('\n')) {
		if (line.startsWith('#')) continue;
		expect(line).toMatch(/^live_[a-z_]+(\{([a-z_]+="([^"\\]|\\.)*",?)*\})? [0-9.e+-]+$/);
	}
});

test('names that Prometheus does not take are refused', async () => {
	world = await startWorld({ channels, onFailure: () => {} });
	const { realtime } = world;
	expect(() => serialize(realtime, { prefix: 'my app ' })).toThrow(/`prefix` is "my app "/);
	expect(() => serialize(realtime, { labels: { 'my-app': 'x' } })).toThrow(/"my-app"/);
	expect(() => collect(realtime, { register: {} as never })).toThrow(/not a registry/);
});

test('`busiest` lists the channels with the most messages, the busiest first', async () => {
	world = await startWorld({ channels, onFailure: () => {} });
	const quiet = await world.open({ channel: 'user:quiet' });
	const busy = await world.open({ channel: 'demo' });
	await Promise.all([quiet.connected(), busy.connected()]);
	await world.publish('user:quiet', 'message', { message: 'a' });
	for (let n = 0; n < 20; n++) await world.publish('demo', 'message', { message: `${n}` });
	await busy.when(() => busy.messages.length === 20);
	await quiet.when(() => quiet.messages.length === 1);
	const { busiest } = world.realtime.stats();
	expect(busiest.map(({ channel }) => channel)).toEqual(['demo', 'user:quiet']);
	expect(busiest[0]!.messagesPerSecond).toBeGreaterThan(busiest[1]!.messagesPerSecond);
	expect(busiest[0]!.bytesPerSecond).toBeGreaterThan(100);
});

test('two endpoints share a registry; one that was replaced removes nothing', async () => {
	world = await startWorld({ channels, onFailure: () => {} });
	const other = await startWorld({ channels });
	try {
		const register = new Registry();
		const removeFirst = collect(world.realtime, { register, labels: { app: 'a' } });
		const removeOther = collect(other.realtime, { register, labels: { app: 'b' } });
		await (await world.open({ channel: 'demo' })).connected();
		const both = await register.metrics();
		expect(both).toContain('realtime_streams{app="a"} 1\nrealtime_streams{app="b"} 0\n');
		expect(both.match(/^# TYPE realtime_streams /gm)).toHaveLength(1);
		// As after a hot reload: another endpoint in the place of the first.
		collect(other.realtime, { register, labels: { app: 'a' } });
		removeFirst();
		removeOther();
		const text = await register.metrics();
		expect(text).toContain('realtime_streams{app="a"} 0\n');
		expect(text).not.toContain('app="b"');
	} finally {
		await other.close();
	}
});

test('labels that break the format are refused', async () => {
	world = await startWorld({ channels, onFailure: () => {} });
	const { realtime } = world;
	expect(() => serialize(realtime, { labels: { le: '1' } })).toThrow(/"le"/);
	expect(() => serialize(realtime, { labels: { app: 7 } } as never)).toThrow(/`labels\.app`/);
	expect(serialize(realtime, { prefix: '' })).toContain('\nstreams 0\n');
});

test('every metric is named and shaped as its type demands, and no counter ever falls', async () => {
	world = await startWorld({ channels, onFailure: () => {} });
	const { realtime } = world;
	const read = (): Map<string, number> =>
		new Map(
			realtime.metrics().flatMap(({ name, type, samples }) =>
				samples.map(({ suffix, labels, value }) => {
					if (type !== 'gauge') expect(name).toMatch(type === 'counter' ? /_total$/ : /_seconds$/);
					return [type === 'gauge' ? '' : `${name}${suffix} ${JSON.stringify(labels)}`, value];
				})
			)
		);
	const reader = await world.open({ channel: 'demo' });
	await reader.connected();
	for (const message of ['a', 'b']) await world.publish('demo', 'message', { message });
	await reader.when(() => reader.messages.length === 2);
	const before = read();
	for (const { name, type, samples } of realtime.metrics()) {
		if (type !== 'histogram') continue;
		const buckets = samples.filter(({ suffix }) => suffix === '_bucket');
		const counts = samples.filter(({ suffix }) => suffix === '_count');
		const ends = buckets.filter(({ labels }) => labels.le === '+Inf');
		expect(
			ends.map(({ value }) => value),
			name
		).toEqual(counts.map(({ value }) => value));
		for (const [n, { labels, value }] of buckets.entries()) {
			if (labels.le === '+Inf') continue;
			expect(buckets[n + 1]!.value, name).toBeGreaterThanOrEqual(value);
			expect(Number(buckets[n + 1]!.labels.le!.replace('+Inf', 'Infinity'))).toBeGreaterThan(
				Number(labels.le)
			);
		}
	}
	reader.close();
	await eventually(() => sum(realtime, 'streams_closed_total') === 1);
	const after = read();
	for (const [sample, value] of before) {
		if (sample) expect(after.get(sample), sample).toBeGreaterThanOrEqual(value);
	}
});

test('`busiest` lists 20 channels at most', async () => {
	world = await startWorld({ channels, onFailure: () => {} });
	const reader = await world.open({
		subscriptions: Array.from({ length: 22 }, (_, n) => ({ channel: `user:${n}` }))
	});
	for (let n = 0; n < 22; n++) await reader.connected(`user:${n}`);
	for (let n = 0; n < 22; n++) await world.publish(`user:${n}`, 'message', { message: 'a' });
	await reader.when(() => reader.messages.length === 22);
	expect(world.realtime.stats().busiest).toHaveLength(20);
});

/** Everything that the metrics of an endpoint must have, without their prefix. */
const EXPECTED = [
	'streams',
	'streams_opened_total',
	'streams_closed_total',
	'stream_duration_seconds',
	'deliveries_total',
	'delivered_bytes_total',
	'slow_readers_total',
	'resyncs_total',
	'replays_total',
	'feeds',
	'source_up',
	'source_sockets',
	'source_connections_total',
	'message_lag_seconds',
	'upstream_tokens_total',
	'drops_total',
	'authorizations_total',
	'authorization_duration_seconds',
	'client_events_total',
	'client_event_duration_seconds',
	'presence_members',
	'rate_limited_total',
	'backend_duration_seconds',
	'backend_up',
	'pressure'
];

/** Reads, publishes and sends, so that everything is counted that can be. */
async function work(): Promise<void> {
	const { post, publish, open } = world;
	const reader = await open({ channel: 'demo' });
	await reader.connected();
	await publish('demo', 'message', { message: 'a' });
	await reader.when(() => reader.messages.length === 1);
	await (await open({ channel: 'demo', lastEventId: 'elsewhere-7' })).connected();
	await (await open({ channel: 'user:a' })).connected();
	await post({ channel: 'user:mallory' });
	reader.close();
	await eventually(() => sum(world.realtime, 'streams_closed_total') === 1);
}

test('each metric is in the text and in a registry, with the same numbers, as its format demands', async () => {
	const odd = 'a "key"\\ of\n two lines';
	world = await startWorld({
		channels: { [odd]: channels.demo, user: { ...channels.user, presence: true } },
		backend: memoryBackend(),
		identify: () => ({ id: 'alice' }),
		onFailure: () => {}
	} as never);
	const { realtime } = world;
	await work();
	const labels = { app: 'a "shop"\\' };
	const text = readExposition(serialize(realtime, { labels }));
	expect([...text.keys()]).toEqual(
		expect.arrayContaining(EXPECTED.map((name) => `realtime_${name}`))
	);
	for (const name of ['messages_total', 'message_lag_seconds', 'authorizations_total']) {
		expect(text.get(`realtime_${name}`)!.samples.map(({ labels }) => labels.channel)).toContain(
			odd.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
		);
	}
	const register = new Registry();
	register.setDefaultLabels({ pod: 'p1' });
	collect(realtime, { register, labels });
	const collected = readExposition(await register.metrics());
	expect([...collected.keys()]).toEqual([...text.keys()]);
	for (const [name, { samples }] of collected) {
		if (/pressure|delay|backend_duration/.test(name)) continue;
		const own = text.get(name)!.samples;
		expect(samples).toEqual(
			own.map((sample) => ({ ...sample, labels: { ...sample.labels, pod: 'p1' } }))
		);
	}
});

test('a registry for OpenMetrics names counters as that format demands, scrape after scrape', async () => {
	world = await startWorld({ channels, onFailure: () => {} });
	await work();
	const register = new Registry();
	register.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never);
	const remove = collect(world.realtime, { register });
	for (let scrape = 0; scrape < 2; scrape++) {
		const metrics = readExposition(await register.metrics());
		expect(metrics.get('realtime_streams_opened')!.samples).toEqual([
			{ name: 'realtime_streams_opened_total', labels: {}, value: 3 }
		]);
		expect(metrics.has('realtime_message_lag_seconds')).toBe(true);
	}
	remove();
	expect(await register.metrics()).toBe('\n# EOF\n');
});

test('of several workers, counts are added up; of what is measured or up, the one that matters counts', async () => {
	world = await startWorld({ channels, onFailure: () => {}, limits: { pressure: { rssMb: 50 } } });
	const register = new Registry();
	collect(world.realtime, { register });
	const worker = await register.getMetricsAsJSON();
	const both = readExposition(await AggregatorRegistry.aggregate([worker, worker]).metrics());
	const value = (name: string): number => both.get(`realtime_${name}`)!.samples[0]!.value;
	expect(value('pressure')).toBe(
		worker.find(({ name }) => name === 'realtime_pressure')!.values[0]!.value
	);
	expect(both.get('realtime_source_up')!.samples.every(({ value }) => value <= 1)).toBe(true);
	expect(value('streams')).toBe(0);
});

test('no number of names makes more series than there are entries', async () => {
	world = await startWorld({ channels, onFailure: () => {} });
	const { realtime } = world;
	const names = (kind: string): string[] => Array.from({ length: 60 }, (_, n) => `${kind}:${n}`);
	/** One name of each kind first, so that each series is there. */
	const attack = async (all: readonly string[], unknown: readonly string[]): Promise<void> => {
		const reader = await world.open({ subscriptions: all.map((channel) => ({ channel })) });
		await Promise.all(all.map((channel) => reader.connected(channel)));
		for (const channel of all) await world.publish(channel, 'message', { message: 'a' });
		await reader.when(() => reader.messages.length === all.length);
		for (const channel of unknown) {
			expect((await world.post({ channel })).status).toBe(400);
			const event = { event: channel, id: `id of ${channel}`, data: {} };
			expect((await world.post(event)).status).toBe(400);
		}
		const iterators = unknown.map((name) => {
			const iterator = realtime.subscribe({ ...demoChannel(), name } as never);
			return { name, iterator, next: iterator.next() };
		});
		await eventually(() => realtime.stats().hub.feeds >= all.length + unknown.length);
		for (const { name, iterator, next } of iterators) {
			let hasHeard = false;
			void next.then(() => (hasHeard = true));
			// Until it is live, messages do not arrive.
			await eventually(async () => {
				await world.publish(name, 'message', { message: 'a' });
				return hasHeard;
			});
			await iterator.return!();
		}
		reader.close();
		await eventually(() => realtime.stats().streams === 0);
	};
	const series = (): string[] =>
		[...readExposition(serialize(realtime))].flatMap(([, { samples }]) =>
			samples.map(({ name, labels }) => `${name} ${JSON.stringify(labels)}`)
		);
	await attack(['user:first'], ['nobody:first']);
	const before = series();
	await attack(names('user').slice(0, 20), names('nobody'));
	expect(series()).toEqual(before);
	expect(before.join('\n')).toContain('{"channel":"other"}');
	expect(before.join('\n')).not.toMatch(/nobody|user:/);
});

test('scrapes while streams are open and messages arrive never break the format', async () => {
	world = await startWorld({ channels, onFailure: () => {} });
	const register = new Registry();
	collect(world.realtime, { register });
	const readers = await Promise.all(
		Array.from({ length: 10 }, () => world.open({ channel: 'demo' }))
	);
	await Promise.all(readers.map((reader) => reader.connected()));
	const deliveries: number[] = [];
	for (let n = 0; n < 20; n++) {
		await world.publish('demo', 'message', { message: `${n}` });
		const scraped = readExposition(await register.metrics());
		readExposition(serialize(world.realtime));
		deliveries.push(scraped.get('realtime_deliveries_total')!.samples[0]!.value);
		expect(scraped.get('realtime_streams')!.samples[0]!.value).toBe(10);
	}
	expect(deliveries).toEqual(deliveries.toSorted((a, b) => a - b));
});

test('the texts of two endpoints make one where each has its own prefix', async () => {
	world = await startWorld({ channels, onFailure: () => {} });
	const other = await startWorld({ channels });
	try {
		const metrics: Map<string, ExposedMetric> = readExposition(
			serialize(world.realtime, { prefix: 'shop_' }) +
				serialize(other.realtime, { prefix: 'admin_' })
		);
		expect(metrics.get('shop_streams')!.samples[0]!.value).toBe(0);
		expect(metrics.get('admin_streams')!.samples[0]!.value).toBe(0);
	} finally {
		await other.close();
	}
});
