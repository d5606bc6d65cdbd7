import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { RealtimeStats } from '../../../src/lib/server/index.js';
import { eventually } from '../../support/wait.js';
import { WorkersWorld, type Isolate } from '../../support/workers/world.js';

let world: WorkersWorld;
beforeAll(async () => {
	world = await WorkersWorld.start();
}, 60_000);
afterAll(() => world?.close());
afterEach(() => world?.closeReaders());

test('a message that is published once reaches the readers of two isolates through one socket', async () => {
	const [one, other] = [
		await world.open('a', { channel: 'demo' }),
		await world.open('b', { channel: 'demo' })
	];
	await one.connected();
	await other.connected();
	world.inngest.publish('demo', 'message', { message: 'both' });
	await one.when(() => one.texts.length === 1, 'the message');
	await other.when(() => other.texts.length === 1, 'the message');
	expect(one.lastId).toBe(other.lastId);
	expect(world.inngest.open.length).toBe(1);
});

test('a reader resumes through the other isolate', async () => {
	const first = await world.open('a', { channel: 'demo' });
	await first.connected();
	world.inngest.publish('demo', 'message', { message: 'one' });
	await first.when(() => first.texts.length === 1, 'the message');
	const { lastId } = first;
	first.close();
	world.inngest.publish('demo', 'message', { message: 'two' });
	const second = await world.open('b', { channel: 'demo', lastEventId: lastId });
	await second.connected();
	expect(second.texts).toEqual(['two']);
	expect(second.frames.map(({ event }) => event)).toEqual(['health', 'message', 'health']);
});

const live = async (isolate: Isolate = 'a', body: object = { channel: 'demo' }) => {
	const reader = await world.open(isolate, body);
	await reader.connected();
	return reader;
};

/** Waits until what earlier tests left is gone. */
const idle = async (): Promise<void> => {
	let last: unknown;
	await eventually(
		async () => {
			const { readers, feeds, sockets, isBeating } = await world.stats();
			last = {
				readers,
				feeds,
				sockets,
				isBeating,
				a: await world.ask('a', '/stats'),
				b: await world.ask('b', '/stats'),
				s: await world.ask('spread', '/stats')
			};
			return readers === 0 && feeds === 0 && sockets === 0 && !isBeating;
		},
		() => `the object to have nothing left: ${JSON.stringify(last)}`
	);
};

test('when all readers are gone nothing is left: no socket, no feed, no heartbeat', async () => {
	await idle();
	const reader = await live();
	expect(await world.stats()).toMatchObject({
		readers: 1,
		streams: 1,
		feeds: 1,
		sockets: 1,
		isBeating: true
	});
	reader.close();
	await idle();
	await eventually(() => world.inngest.open.length === 0);
	await eventually(async () => {
		const { streams, hub } = await world.ask<RealtimeStats>('a', '/stats');
		return streams === 0 && hub.feeds === 0;
	}, 'the isolate to have nothing left');
});

test('an object that is evicted goes on from its storage: a resume is replayed, and nobody is lost', async () => {
	const left = await live();
	world.inngest.publish('demo', 'message', { message: 'seen' });
	await left.when(() => left.texts.includes('seen'));
	const { lastId } = left;
	left.close();
	const stays = await live('b');
	world.inngest.publish('demo', 'message', { message: 'missed' });
	await stays.when(() => stays.texts.includes('missed'));
	await world.object('evict');
	const back = await live('b', { channel: 'demo', lastEventId: lastId });
	expect(back.texts).toEqual(['missed']);
	// The socket to Inngest was away for a moment, and the reader that stayed is told so.
	await stays.when(() => stays.frames.some(({ event }) => event === 'resync'), 'the gap');
	await stays.when(() => stays.statuses.at(-1) === 'connected', 'the line to be back');
	world.inngest.publish('demo', 'message', { message: 'live again' });
	await stays.when(() => stays.texts.at(-1) === 'live again');
	await back.when(() => back.texts.at(-1) === 'live again');
	expect((await world.stats()).name).toBe('sveltekit-inngest:0');
});

test('Inngest goes and comes back: both isolates say so, once, and go on', async () => {
	const readers = [await live('a'), await live('b')];
	await eventually(() => world.inngest.open.length === 1);
	world.inngest.onToken = () => 503;
	world.inngest.last.drop();
	for (const reader of readers) {
		await reader.when(() => reader.statuses.at(-1) === 'connecting', 'the loss');
	}
	world.inngest.onToken = () => 201;
	for (const reader of readers) {
		await reader.when(() => reader.statuses.at(-1) === 'connected', 'the return');
		const gaps = reader.frames.filter(({ event }) => event === 'resync');
		expect(gaps.map(({ data }) => (data as { reason: string }).reason)).toEqual(['upstream-gap']);
	}
	world.inngest.publish('demo', 'message', { message: 'back' });
	for (const reader of readers) await reader.when(() => reader.texts.at(-1) === 'back');
});

test('what the log no longer has is told: by count and by age', async () => {
	await live('a');
	const { cursor } = await world.ask<{ cursor: string }>('a', '/emit', {
		channel: 'demo',
		text: 'old'
	});
	await world.ask('a', '/emit', { channel: 'demo', text: 'older than an hour' });
	await world.object('clock?ahead=3600001');
	try {
		await world.ask('b', '/emit', { channel: 'demo', text: 'new' });
		const back = await live('b', { channel: 'demo', lastEventId: cursor });
		expect(back.texts).toEqual(['new']);
		expect(back.frames.find(({ event }) => event === 'resync')?.data).toMatchObject({
			reason: 'expired'
		});
	} finally {
		await world.object('clock?ahead=0');
	}
	const stranger = await live('b', { channel: 'demo', lastEventId: 'elsewhere-1' });
	expect(stranger.frames.find(({ event }) => event === 'resync')?.data).toMatchObject({
		reason: 'restart'
	});
});

test('alarms delete what is too old, and end with it', async () => {
	await world.ask('a', '/emit', { channel: 'demo', text: 'to be deleted' });
	expect((await world.stats()).alarm).toBeGreaterThan(Date.now());
	// Keys of emitted messages are kept for 48 hours.
	await world.object(`clock?ahead=${49 * 3_600_000}`);
	await world.object('alarm');
	for (const table of ['events', 'keys']) {
		expect(await world.object(`rows?table=${table}`)).toEqual([]);
	}
	await world.object('clock?ahead=0');
});

test('an alarm that waits for what is kept long does not keep what is kept shortly', async () => {
	await idle();
	// Its key is kept for 48 hours, the messages of Inngest for one.
	await world.ask('a', '/emit', { channel: 'demo', text: 'with a key', key: 'kept long' });
	await world.object(`clock?ahead=${2 * 3_600_000}`);
	try {
		await world.object('alarm');
		expect((await world.stats()).alarm).toBeGreaterThan(Date.now() + 40 * 3_600_000);
		const reader = await live('a');
		world.inngest.publish('demo', 'message', { message: 'kept for an hour' });
		await reader.when(() => reader.texts.includes('kept for an hour'));
		await eventually(async () => {
			const { alarm } = await world.stats();
			return alarm !== null && alarm < Date.now() + 2 * 3_600_000;
		}, 'an earlier alarm');
	} finally {
		await world.object('clock?ahead=0');
	}
});

test('channels that nobody uses any more leave nothing behind, and those in use stay', async () => {
	await idle();
	const names = Array.from({ length: 20 }, (_, n) => `user:once-${n}`);
	const visitor = await world.open('a', { subscriptions: names.map((channel) => ({ channel })) });
	for (const name of names) await visitor.connected(name);
	world.inngest.publish(names[0]!, 'message', { message: 'once' });
	await visitor.when(() => visitor.texts.includes('once'));
	visitor.close();
	await idle();
	const stays = await live('b');
	const { lastId } = stays;
	await world.object(`clock?ahead=${49 * 3_600_000}`);
	try {
		await world.object('alarm');
		const logs = (await world.object('rows?table=logs')) as { name: string }[];
		expect(logs.map(({ name }) => (JSON.parse(name) as string[])[0])).toEqual(['demo']);
		const back = await live('a', { channel: 'demo', lastEventId: lastId });
		expect(back.frames.map(({ event }) => event)).not.toContain('resync');
		stays.close();
		back.close();
		await idle();
		await world.object(`clock?ahead=${51 * 3_600_000}`);
		await world.object('alarm');
		expect(await world.object('rows?table=logs')).toEqual([]);
	} finally {
		await world.object('clock?ahead=0');
	}
});

test.each([
	'',
	'{',
	'null',
	'[]',
	'{}',
	'{"object":1,"part":"replay","method":"bounds","args":["x"]}'
])('a request of %j is refused, and the object goes on', async (body) => {
	const response = await fetch(`${world.hubUrl}call`, { method: 'POST', body });
	expect([response.status, await response.text()]).toEqual([
		400,
		'The hub cannot read this request; deploy both Workers again.'
	]);
	expect((await world.stats()).name).toBe('sveltekit-inngest:0');
});

test('what is emitted in one isolate reaches the others once, also where Inngest is not asked', async () => {
	const before = world.inngest.tokens.length;
	const silent = await live('b', { channel: 'silent' });
	const emit = { channel: 'silent', text: 'hello', key: 'once' };
	const first = await world.ask<{ cursor: string; isDuplicate: boolean }>('a', '/emit', emit);
	const again = await world.ask('b', '/emit', emit);
	expect([first.isDuplicate, again]).toEqual([false, { cursor: first.cursor, isDuplicate: true }]);
	await silent.when(() => silent.texts.length > 0, 'the message');
	expect([silent.texts, silent.lastId]).toEqual([['hello'], first.cursor]);
	await world.ask('a', '/emit', { channel: 'silent', text: 'more' });
	await silent.when(() => silent.texts.length === 2, 'the message');
	expect(world.inngest.tokens.length).toBe(before);
});

test('history, cursor, clear and once work in every isolate', async () => {
	await live('a');
	await world.ask('a', '/clear', {});
	const cursor = await world.ask<string>('b', '/cursor', {});
	world.inngest.publish('demo', 'message', { message: 'kept' });
	await eventually(async () => {
		const { messages } = await world.ask<{ messages: { data: unknown }[] }>('b', '/history', {});
		return JSON.stringify(messages.map(({ data }) => data)) === '[{"message":"kept"}]';
	}, 'the history');
	const since = await live('b', { channel: 'demo', since: cursor });
	expect(since.texts).toEqual(['kept']);
	const first = await world.ask<{ answer: number; ran: boolean }>('a', '/once', { key: 'job' });
	expect(await world.ask('b', '/once', { key: 'job' })).toEqual({ ...first, ran: false });
});

test('data that does not match its schema reaches nobody, live or in a replay', async () => {
	const reader = await live('a');
	const { lastId } = reader;
	world.inngest.publish('demo', 'message', { message: 1 });
	world.inngest.publish('demo', 'message', { message: 'valid', extra: 'stripped' });
	await reader.when(() => reader.texts.length > 0, 'the valid message');
	expect(reader.messages.map(({ data }) => data)).toEqual([{ message: 'valid' }]);
	const back = await live('b', { channel: 'demo', lastEventId: lastId });
	expect(back.messages.map(({ data }) => data)).toEqual([{ message: 'valid' }]);
	const { failures } = await world.ask<{ failures: string[] }>('a', '/stats', {});
	expect(failures.join()).toContain("does not match the topic's schema");
});

test('each message, and each interval, is authorized again in the isolate', async () => {
	const alice = await world.open('a', { channel: 'user:1' }, { 'x-user': 'alice' });
	await alice.connected();
	world.inngest.publish('user:1', 'message', { message: 'for alice' });
	world.inngest.publish('user:1', 'message', { message: 'a secret' });
	await alice.until(({ data }) => 'status' in data && data.status === 'degraded', 'the end');
	expect(alice.texts).toEqual(['for alice']);
	const bob = await world.open('b', { channel: 'demo' }, { 'x-user': 'bob' });
	await bob.connected();
	await world.ask('b', '/revoke', { user: 'bob' });
	await bob.until(({ data }) => 'status' in data && data.status === 'degraded', 'the end');
});

test('a run whose caller is gone, or whose result is too large, holds nothing up', async () => {
	const left = AbortSignal.timeout(300);
	await world.ask('a', '/once', { key: 'left', slowMs: 60_000 }, {}, left).catch(() => {});
	// The lease of a run is over after 30 s, in the isolate that had begun it as well.
	await world.object('clock?ahead=31000');
	try {
		expect(await world.ask('a', '/once', { key: 'left' })).toMatchObject({ ran: true });
	} finally {
		await world.object('clock?ahead=0');
	}
	for (let n = 0; n < 4; n++) {
		expect(await world.ask('a', '/once', { key: 'large', size: 2_100_000 })).toMatchObject({
			code: 'INVALID_MESSAGE',
			error: expect.stringContaining('Return less')
		});
	}
	expect(await world.ask('b', '/once', { key: 'large', size: 10 })).toMatchObject({ ran: true });
});

test('several objects share the channels, and each reader gets those of its own', async () => {
	await idle();
	const names = ['user:1', 'user:2', 'user:3', 'user:4', 'user:5', 'user:6', 'user:7', 'user:8'];
	const subscriptions = names.map((channel) => ({ channel }));
	const reader = await world.open('spread', { subscriptions });
	for (const name of names) await reader.connected(name);
	const stats = await Promise.all([0, 1, 2, 3].map((n) => world.stats(`sveltekit-inngest:${n}`)));
	expect(stats.reduce((sum, { feeds }) => sum + feeds, 0)).toBe(8);
	expect(stats.filter(({ feeds }) => feeds > 0).length).toBeGreaterThan(1);
	for (const name of names) world.inngest.publish(name, 'message', { message: name });
	await reader.when(() => reader.texts.length === 8, 'all messages');
	expect(reader.texts.toSorted()).toEqual(names);
});

test('without the binding each stream has a hub of its own, and one line says so', async () => {
	const streams = [await live('alone'), await live('alone')];
	expect(world.lines.filter((line) => line.includes('no Durable Object binding')).length).toBe(1);
	world.inngest.publish('demo', 'message', { message: 'alone' });
	for (const stream of streams) await stream.when(() => stream.texts.length === 1, 'the message');
	expect(await world.ask('alone', '/emit', { channel: 'demo', text: 'x' })).toMatchObject({
		code: 'UNSUPPORTED'
	});
	expect(await world.ask('alone', '/once', { key: 'job' })).toMatchObject({ ran: true });
});

test('a reader costs three requests, a message of Inngest one row, and an emitted one two', async () => {
	await idle();
	const before = await world.stats();
	const readers = await Promise.all(Array.from({ length: 10 }, (_, n) => live(n % 2 ? 'a' : 'b')));
	const started = await world.stats();
	expect(started.requests - before.requests).toBe(30);
	for (let n = 0; n < 10; n++) world.inngest.publish('demo', 'message', { message: String(n) });
	for (const reader of readers) await reader.when(() => reader.texts.includes('9'));
	const published = await world.stats();
	expect([published.rowsWritten - started.rowsWritten, published.requests]).toEqual([
		10,
		started.requests
	]);
	await world.ask('a', '/emit', { channel: 'demo', text: 'emitted' });
	const emitted = await world.stats();
	expect([
		emitted.rowsWritten - published.rowsWritten,
		emitted.requests - published.requests
	]).toEqual([2, 1]);
});
