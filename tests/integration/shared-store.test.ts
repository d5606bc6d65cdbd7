import { setImmediate as immediate } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { ChannelLike } from '../../src/lib/protocol/channel.js';
import { startInngestDev, type InngestDev } from '../../src/lib/dev/index.js';
import { createRealtime, type Realtime } from '../../src/lib/server/index.js';
import { channel, topic } from '@inngest/realtime';
import { z } from 'zod';
import { demoChannel } from '../support/channels.js';
import { serve, type TestServer } from '../support/server.js';
import { openStream, type SseReader } from '../support/sse.js';
import { SharedLog, type SharedStore } from '../support/store.js';
import { deferred, eventually } from '../support/wait.js';
import { inngestAt } from '../support/world.js';

/** What one of several processes of an app has: an Inngest client, an endpoint, a store connection. */
interface Instance {
	realtime: Realtime;
	server: TestServer;
	store: SharedStore;
	open(lastEventId?: string): Promise<SseReader>;
	close(): Promise<void>;
}

let engine: InngestDev;
let log: SharedLog;
const instances: Instance[] = [];

async function startInstance(served: ChannelLike = demoChannel): Promise<Instance> {
	const store = log.connect();
	const realtime = createRealtime({
		inngest: inngestAt(engine.url),
		channels: { demo: { channel: served, authorize: () => true } },
		replay: store,
		onFailure: () => {}
	});
	const server = await serve(realtime);
	const readers: SseReader[] = [];
	const instance: Instance = {
		realtime,
		server,
		store,
		async open(lastEventId) {
			const reader = await openStream(server.url, { channel: 'demo', lastEventId });
			readers.push(reader);
			return reader;
		},
		async close() {
			for (const reader of readers) reader.close();
			realtime.close();
			await server.close();
		}
	};
	instances.push(instance);
	return instance;
}

beforeEach(async () => {
	engine = await startInngestDev();
	log = new SharedLog();
});
afterEach(async () => {
	await Promise.all(instances.splice(0).map((instance) => instance.close()));
	await engine.close();
});

const say = (message: string): void =>
	engine.publish({ channel: 'demo', topic: 'message', data: { message } });

async function connect(instance: Instance, lastEventId?: string): Promise<SseReader> {
	const reader = await instance.open(lastEventId);
	await reader.connected();
	return reader;
}

const entries = (reader: SseReader): [string | undefined, string][] =>
	reader.frames.flatMap(({ event, id, data }) =>
		event === 'message' ? [[id, (data.data as { message: string }).message]] : []
	);

const reasons = (reader: SseReader): string[] =>
	reader.frames.flatMap(({ event, data }) => (event === 'resync' ? [data.reason] : []));

const numbers = (count: number): string[] =>
	Array.from({ length: count }, (_, index) => String(index + 1));

test('two processes send the same messages with the same cursors in one order', async () => {
	const [one, other] = [await startInstance(), await startInstance()];
	const [first, second] = [await connect(one), await connect(other)];
	for (let n = 1; n <= 60; n++) {
		say(String(n));
		if (n % 7 === 0) await immediate();
	}
	await first.when(() => first.texts.length === 60);
	await second.when(() => second.texts.length === 60);
	expect(first.texts).toEqual(numbers(60));
	expect(entries(second)).toEqual(entries(first));
	expect(new Set(entries(first).map(([id]) => id)).size).toBe(60);
	expect(log.events('demo').filter(({ topic }) => topic !== null)).toHaveLength(60);
});

test('equal messages are all kept, as many as were published', async () => {
	const [one, other] = [await startInstance(), await startInstance()];
	const [first, second] = [await connect(one), await connect(other)];
	vi.useFakeTimers({ toFake: ['Date'] });
	for (let n = 0; n < 10; n++) say('alike');
	vi.useRealTimers();
	await first.when(() => first.texts.length === 10);
	await second.when(() => second.texts.length === 10);
	expect(entries(second)).toEqual(entries(first));
	await eventually(() => other.realtime.stats().hub.messages === 10);
	expect(log.events('demo').filter(({ topic }) => topic !== null)).toHaveLength(10);
});

test('a schema that returns different data in each process does not duplicate messages', async () => {
	const numbered = (first: number) => {
		let n = first;
		const schema = z.object({ message: z.string(), n: z.number().default(() => n++) });
		return channel('demo').addTopic(topic('message').schema(schema));
	};
	const [one, other] = [await startInstance(numbered(0)), await startInstance(numbered(100))];
	const [first, second] = [await connect(one), await connect(other)];
	for (const text of ['1', '2', '3']) say(text);
	for (const reader of [first, second]) {
		await reader.when(() => reader.texts.includes('3'));
		expect(reader.texts).toEqual(['1', '2', '3']);
	}
});

test('a reader resumes at the other process without gap or repeat while messages pour in', async () => {
	const [one, other] = [await startInstance(), await startInstance()];
	const witnesses = [await connect(one), await connect(other)];
	const first = await connect(one);
	let lastEventId = first.lastId!;
	first.close();
	let published = 0;
	let pouring = true;
	const pour = (async () => {
		while (pouring) {
			say(String(++published));
			await immediate();
			await immediate();
		}
	})();
	const seen: string[] = [];
	for (let turn = 1; turn <= 12; turn++) {
		const reader = await instances[turn % 2]!.open(lastEventId);
		await reader.when(() => reader.texts.length >= 5 + turn);
		reader.close();
		expect(reasons(reader)).toEqual([]);
		seen.push(...reader.texts);
		lastEventId = reader.lastId!;
	}
	pouring = false;
	await pour;
	const last = await connect(one, lastEventId);
	await last.when(() => seen.length + last.texts.length >= published);
	seen.push(...last.texts);
	expect(seen).toEqual(numbers(published));
	for (const witness of witnesses) {
		await witness.when(() => witness.texts.length === published);
		expect(witness.texts).toEqual(seen);
	}
});

test('a reader that is ahead of its process gets nothing twice, and no cursor behind it', async () => {
	const [one, other] = [await startInstance(), await startInstance()];
	const [first, behind] = [await connect(one), await connect(other)];
	const began = first.lastId!;
	const release = deferred();
	other.store.appendsWaitFor = release.promise;
	for (const text of ['1', '2', '3']) say(text);
	await first.when(() => first.texts.length === 3);
	const ahead = await connect(other, began);
	expect(ahead.texts).toEqual(['1', '2', '3']);
	expect(behind.texts).toEqual([]);
	expect(ahead.health().at(-1)!.cursor).toBe(first.lastId);
	release.resolve();
	other.store.appendsWaitFor = undefined;
	await behind.when(() => behind.texts.length === 3);
	say('4');
	await ahead.when(() => ahead.texts.length === 4);
	expect(ahead.texts).toEqual(['1', '2', '3', '4']);
	expect(entries(ahead)).toEqual(entries(behind));
});

test('an iteration that is ahead of its process yields nothing twice', async () => {
	const [one, other] = [await startInstance(), await startInstance()];
	const [first, behind] = [await connect(one), await connect(other)];
	const release = deferred();
	other.store.appendsWaitFor = release.promise;
	for (const text of ['1', '2', '3']) say(text);
	await first.when(() => first.texts.length === 3);
	const items = other.realtime.subscribe(demoChannel, { lastEventId: behind.lastId! });
	const next = async (): Promise<string> => {
		const { value } = await items.next();
		return value?.kind === 'data' ? value.data.message : String(value?.kind);
	};
	expect([await next(), await next(), await next()]).toEqual(['1', '2', '3']);
	release.resolve();
	other.store.appendsWaitFor = undefined;
	await behind.when(() => behind.texts.length === 3);
	say('4');
	expect(await next()).toBe('4');
	await items.return();
});

test('an iteration whose store fails ends in words, and lets go of its feed', async () => {
	const one = await startInstance();
	const reader = await connect(one);
	say('1');
	await reader.when(() => reader.texts.length === 1);
	const items = one.realtime.subscribe(demoChannel, { lastEventId: reader.lastId! });
	one.store.failure = new Error('the database password is hunter2');
	await expect(items.next()).rejects.toMatchObject({
		code: 'UPSTREAM',
		message:
			'Realtime channel "demo" cannot be read: The replay store failed; the stream starts anew.'
	});
	await expect(items.next()).rejects.toMatchObject({ code: 'UPSTREAM' });
});

test('a new process replays what others kept, and announces that it has missed messages itself', async () => {
	const [one, other] = [await startInstance(), await startInstance()];
	const [witness, reader] = [await connect(one), await connect(other)];
	say('1');
	await reader.when(() => reader.texts.length === 1);
	const { lastId } = reader;
	await other.close();
	expect(other.store.released.map((name) => JSON.parse(name)[0])).toEqual(['demo']);
	say('2');
	say('3');
	await witness.when(() => witness.texts.length === 3);
	const renewed = await startInstance();
	const again = await connect(renewed, lastId);
	expect(again.texts).toEqual(['2', '3']);
	expect(reasons(again)).toEqual(['upstream-gap']);
	say('4');
	await again.when(() => again.texts.length === 3);
	await witness.when(() => witness.texts.length === 4);
	expect(entries(again)).toEqual(entries(witness).slice(1));
});

test('what a process missed before it started is announced before the first message that it receives', async () => {
	const one = await startInstance();
	const reader = await connect(one);
	say('1');
	await reader.when(() => reader.texts.length === 1);
	await one.close();
	say('missed by all');
	const other = await startInstance();
	const { bounds } = other.store;
	const asked = deferred();
	const answered = deferred();
	other.store.bounds = async (name) => {
		const answer = await bounds.call(other.store, name);
		asked.resolve();
		await answered.promise;
		return answer;
	};
	const again = await other.open(reader.lastId);
	await asked.promise;
	say('2');
	await eventually(() => other.realtime.stats().hub.messages === 1);
	answered.resolve();
	await again.when(() => again.texts.length === 1);
	const heard = again.frames.filter(({ event }) => event !== 'health');
	expect(heard.map(({ event }) => event)).toEqual(['resync', 'message']);
});

test('a store that fails ends streams, which come back without a silent gap', async () => {
	const one = await startInstance();
	const reader = await connect(one);
	say('1');
	await reader.when(() => reader.texts.length === 1);
	one.store.failure = new Error('the database password is hunter2');
	say('lost');
	await reader.end();
	expect(reader.health().at(-1)).toMatchObject({
		status: 'degraded',
		stage: 'stream',
		code: 503,
		detail: 'The replay store failed; the stream starts anew.'
	});
	expect(reader.health().at(-1)!.fatal).not.toBe(true);
	const refused = await one.open(reader.lastId);
	await refused.end();
	expect(refused.statuses).toEqual(['connecting', 'degraded']);
	one.store.failure = undefined;
	const again = await connect(one, reader.lastId);
	say('2');
	await again.when(() => again.texts.length === 1);
	expect(again.texts).toEqual(['2']);
	expect(reasons(again)).toEqual(['upstream-gap']);
	expect(JSON.stringify([reader.frames, refused.frames])).not.toContain('hunter2');
});

test('what nobody listened to is announced, also to who holds the first position of an empty log', async () => {
	const one = await startInstance();
	const first = await connect(one);
	const { cursor } = first.health().at(-1) as { cursor: string };
	first.close();
	await one.close();
	say('lost');
	const resumed = await connect(await startInstance(), cursor);
	say('next');
	await resumed.when(() => entries(resumed).length === 1);
	expect(reasons(resumed)).toContain('upstream-gap');
});
