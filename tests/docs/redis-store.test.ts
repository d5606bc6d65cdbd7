import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import ts from 'typescript';
import { startInngestDev } from '../../src/lib/dev/index.js';
import { createRealtime, type ReplayEvent, type ReplayStore } from '../../src/lib/server/index.js';
import { demoChannel } from '../support/channels.js';
import { serve } from '../support/server.js';
import { openStream } from '../support/sse.js';
import { inngestAt } from '../support/world.js';
import { readPage } from './support/markdown.js';
import { Redis } from './support/redis.js';

const url = process.env.REDIS_URL;

/** The store that docs/deployment.md shows, made to run. */
async function documentedStore(): Promise<new (redis: unknown) => ReplayStore> {
	const { blocks } = readPage('docs/deployment.md');
	const { text } = blocks.find(({ file }) => file?.endsWith('redisReplayStore.ts'))!;
	const code = ts.transpile(text, { target: ts.ScriptTarget.ESNext });
	const module = `data:text/javascript,${encodeURIComponent(code)}`;
	return ((await import(/* @vite-ignore */ module)) as { RedisReplayStore: never })
		.RedisReplayStore;
}

test('the documented store is code that loads, and has all methods of a store', async () => {
	const store = new (await documentedStore())({});
	for (const method of ['append', 'since', 'bounds']) {
		expect(store[method as 'append']).toBeTypeOf('function');
	}
});

describe.skipIf(!url)('the documented store, with Redis', () => {
	let redis: Redis;
	let store: ReplayStore;
	beforeAll(async () => {
		redis = new Redis(url!);
		store = new (await documentedStore())(redis);
	});
	afterAll(() => redis.close());
	beforeEach(() => redis.flush());

	const event = (n: number, key = `k${n}`): ReplayEvent => ({
		key,
		kind: n % 5 ? 'message' : 'resync',
		topic: n % 5 ? 'message' : null,
		payload: JSON.stringify({ n, text: 'ü – 😀' })
	});

	test('gives cursors that count, and the same for the same key', async () => {
		const [one, two] = await store.append('demo', [event(1), event(2)]);
		expect(one).toMatch(/^[0-9a-f]{32}-1$/);
		expect(two).toBe(one!.replace(/1$/, '2'));
		expect(await store.append('demo', [event(2), event(3)])).toEqual([
			two,
			one!.replace(/1$/, '3')
		]);
	});

	test('tells what follows a cursor, as it was', async () => {
		const cursors = await store.append(
			'demo',
			[1, 2, 3, 4, 5].map((n) => event(n))
		);
		expect(await store.since('demo', cursors[2]!)).toEqual({
			events: [4, 5].map((n) => {
				const { topic, payload } = event(n);
				return { cursor: cursors[n - 1], topic, payload };
			})
		});
		expect(await store.since('demo', cursors[4]!)).toEqual({ events: [] });
	});

	test('knows its bounds, also of a channel that it does not know', async () => {
		const { first, last } = await store.bounds('demo');
		expect(first).toBe(last);
		expect(first).toMatch(/-0$/);
		const [cursor] = await store.append('demo', [event(1)]);
		expect(await store.bounds('demo')).toEqual({ first, last: cursor });
	});

	test('says what it has no more: another epoch, a later cursor, none, and what was trimmed', async () => {
		const many = Array.from({ length: 1200 }, (_, index) => event(index + 1));
		const cursors = await store.append('demo', many);
		expect(await store.since('demo', 'other-1')).toEqual({ events: [], missed: 'restart' });
		expect(await store.since('demo', '')).toEqual({ events: [], missed: 'restart' });
		const later = cursors[0]!.replace(/1$/, '5000');
		expect(await store.since('demo', later)).toEqual({ events: [], missed: 'restart' });
		const { events, missed } = await store.since('demo', cursors[10]!);
		expect([missed, events.length, events[0]!.cursor]).toEqual(['expired', 1000, cursors[200]]);
		expect((await store.since('demo', cursors[199]!)).missed).toBeUndefined();
		expect((await store.bounds('demo')).first).toBe(cursors[199]);
	});

	test('keeps its epoch when its events have aged away', async () => {
		const cursors = await store.append('demo', [event(1), event(2)]);
		await redis.drop(['realtime:{demo}:events', 'realtime:{demo}:keys']);
		expect(await store.since('demo', cursors[1]!)).toEqual({ events: [] });
		expect(await store.since('demo', cursors[0]!)).toEqual({ events: [], missed: 'expired' });
		expect(await store.append('demo', [event(3)])).toEqual([cursors[0]!.replace(/1$/, '3')]);
	});

	test('begins a new epoch when all is lost', async () => {
		const [cursor] = await store.append('demo', [event(1)]);
		await redis.flush();
		expect(await store.since('demo', cursor!)).toEqual({ events: [], missed: 'restart' });
		const [again] = await store.append('demo', [event(2)]);
		expect(again).not.toBe(cursor);
		expect(again).toMatch(/-1$/);
	});

	test('lets a reader resume at another process', async () => {
		const engine = await startInngestDev();
		const [here, there] = await Promise.all([1, 2].map(() => start(engine.url)));
		try {
			const reader = await openStream(here!.server.url, { channel: 'demo' });
			const other = await openStream(there!.server.url, { channel: 'demo' });
			await Promise.all([reader.connected(), other.connected()]);
			for (const message of ['1', '2', '3']) {
				engine.publish({ channel: 'demo', topic: 'message', data: { message } });
			}
			await reader.when(() => reader.messages.length === 3, 'the messages here');
			await other.when(() => other.messages.length === 3, 'the messages there');
			const first = reader.frames.find(({ event }) => event === 'message')!.id;
			reader.close();
			const again = await openStream(there!.server.url, { channel: 'demo', lastEventId: first });
			await again.connected();
			expect(again.texts).toEqual(['2', '3']);
			expect(again.frames.some(({ event }) => event === 'resync')).toBe(false);
			for (const one of [other, again]) one.close();
		} finally {
			await Promise.all([here!.close(), there!.close()]);
			await engine.close();
		}
	});

	/** What one of several processes of an app has. */
	async function start(engineUrl: string) {
		const connection = new Redis(url!);
		const realtime = createRealtime({
			inngest: inngestAt(engineUrl),
			replay: new (await documentedStore())(connection),
			channels: { demo: { channel: demoChannel, authorize: () => true } }
		});
		const server = await serve(realtime);
		const close = async (): Promise<void> => {
			realtime.close();
			await server.close();
			connection.close();
		};
		return { server, close };
	}
});
