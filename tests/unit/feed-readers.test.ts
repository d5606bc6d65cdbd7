import { HubMeters } from '../../src/lib/server/metrics/hubMeters.js';
import { expect, test, vi } from 'vitest';
import type { Batch } from '../../src/lib/server/hub/batch.js';
import { Feed } from '../../src/lib/server/hub/feed.js';
import type { FeedBounds } from '../../src/lib/server/hub/feed.js';
import { EventKeys } from '../../src/lib/server/hub/envelope.js';
import { ChannelLog } from '../../src/lib/server/hub/log.js';
import type { FeedReader } from '../../src/lib/server/hub/readers.js';
import type { SourceMessage } from '../../src/lib/server/hub/source.js';
import { MemoryReplayStore } from '../../src/lib/server/backend/memory.js';

/** A feed whose flushes are up to the test. */
function createFeed(topics: readonly string[] = ['t']): Feed {
	return new Feed(
		{ channel: 'a', entry: 'a', topics, definitions: {} },
		{
			createLog: (events) => new ChannelLog(new MemoryReplayStore(), 'a', events),
			host: {
				flushSoon: () => {},
				countMessage: () => {},
				countDrop: () => {},
				meters: new HubMeters()
			}
		}
	);
}

function createReader(...topics: string[]): FeedReader & { batches: Batch[] } {
	const batches: Batch[] = [];
	return {
		batches,
		topics: new Set(topics),
		report: ({ message }) => message,
		deliver: (batch) => void batches.push(batch),
		changed: () => {},
		failed: () => {}
	};
}

const message = (topic: string, data: unknown): SourceMessage => ({
	kind: 'data',
	channel: 'a',
	topic,
	data,
	runId: undefined,
	fnId: undefined,
	envId: undefined,
	createdAt: undefined,
	streamId: undefined,
	key: () => JSON.stringify(data)
});

const cursorSaid = (feed: Feed, reader: FeedReader): string | undefined => {
	const options = { report: reader.report, withId: false, cursor: null, limitation: undefined };
	const frame = new TextDecoder().decode(feed.healthFrame(0, options));
	return (JSON.parse(/data: (.*)/.exec(frame)![1]!) as { cursor?: string }).cursor;
};

test('the cursor that a health event says is that of what was handed on, not of what came', () => {
	const feed = createFeed();
	const reader = createReader('t');
	feed.attach(reader);
	feed.live();
	const before = cursorSaid(feed, reader);
	feed.message(message('t', 1));
	expect(cursorSaid(feed, reader)).toBe(before);
	feed.flush();
	expect(cursorSaid(feed, reader)).toBe(reader.batches[0]!.entries[0]!.cursor);
	expect(cursorSaid(feed, reader)).not.toBe(before);
});

test('a reader gets nothing of what came before it was attached', () => {
	const feed = createFeed();
	const early = createReader('t');
	feed.attach(early);
	feed.live();
	feed.message(message('t', 1));
	const late = createReader('t');
	feed.attach(late);
	feed.message(message('t', 2));
	feed.flush();
	expect(early.batches).toHaveLength(2);
	expect(late.batches).toHaveLength(1);
});

test('readers of the same topics get one and the same chunk, made of all messages of a tick', () => {
	const feed = createFeed(['t', 'u']);
	const [one, two, other] = [createReader('t', 'u'), createReader('u', 't'), createReader('u')];
	for (const reader of [one, two, other]) feed.attach(reader);
	feed.live();
	feed.message(message('t', 1));
	feed.message(message('u', 2));
	feed.flush();
	expect(one.batches[0]!.chunk).toBe(two.batches[0]!.chunk);
	expect(one.batches[0]!.entries).toHaveLength(2);
	expect(other.batches[0]!.entries.map(({ topic }) => topic)).toEqual(['u']);
});

test('readers are told apart by their topics, however those are spelled', () => {
	const feed = createFeed(['a', 'b', 'a\nb']);
	const both = createReader('a', 'b');
	const odd = createReader('a\nb');
	feed.attach(both);
	feed.attach(odd);
	feed.live();
	feed.message(message('a', 1));
	feed.flush();
	expect(both.batches).toHaveLength(1);
	expect(odd.batches).toEqual([]);
});

test('a reader that is attached twice gets everything once, and is gone when it is detached', () => {
	const feed = createFeed();
	const reader = createReader('t');
	feed.attach(reader);
	feed.attach(reader);
	feed.live();
	feed.message(message('t', 1));
	feed.flush();
	expect(reader.batches).toHaveLength(1);
	feed.detach(reader);
	feed.message(message('t', 2));
	feed.flush();
	expect(reader.batches).toHaveLength(1);
	expect(feed.readers).toBe(0);
});

function throwing(): never {
	throw new Error('a fault');
}

test('a reader that throws is let go and told so, and harms no other', () => {
	const feed = createFeed();
	const told: string[] = [];
	const create = (name: string, overrides: Partial<FeedReader> = {}): FeedReader => ({
		...createReader('t'),
		deliver: ({ entries }) => void told.push(`${name} ${entries.length} delivered`),
		changed: () => void told.push(`${name} changed`),
		failed: () => void told.push(`${name} failed`),
		...overrides
	});
	const readers = [
		create('deaf', { deliver: throwing }),
		create('blind', { changed: throwing }),
		create('mad', { deliver: throwing, failed: throwing }),
		create('sound')
	];
	for (const reader of readers) feed.attach(reader);
	feed.live();
	expect(told.splice(0)).toEqual(['deaf changed', 'blind failed', 'mad changed', 'sound changed']);
	feed.message(message('t', 1));
	feed.flush();
	expect(told.splice(0)).toEqual(['deaf failed', 'sound 1 delivered']);
	expect(feed.readers).toBe(1);
	feed.message(message('t', 2));
	feed.flush();
	expect(told).toEqual(['sound 1 delivered']);
});

test('a reader that throws when it is told of a failure keeps no other from being told', () => {
	const feed = createFeed();
	const sound = { ...createReader('t'), failed: vi.fn() };
	feed.attach({ ...createReader('t'), failed: throwing });
	feed.attach(sound);
	feed.failed(new Error('refused'));
	expect(sound.failed).toHaveBeenCalledOnce();
	expect(feed.readers).toBe(0);
});

test('readers that are left when a feed ends are told', () => {
	const feed = createFeed();
	const reader = { ...createReader('t'), failed: vi.fn() };
	feed.attach(reader);
	feed.live();
	feed.close();
	expect(reader.failed).toHaveBeenCalledOnce();
	expect(feed.readers).toBe(0);
});

test('messages that wait for an asynchronous schema are bounded, and what is dropped is announced', async () => {
	let answer = (): void => {};
	const slow = {
		'~standard': {
			version: 1 as const,
			vendor: 'test',
			validate: (value: unknown) =>
				value === 0
					? new Promise<{ value: unknown }>((r) => (answer = () => r({ value })))
					: { value }
		}
	};
	let drops = 0;
	const feed = new Feed(
		{ channel: 'a', entry: 'a', topics: ['t'], definitions: { t: { schema: slow } } as never },
		{
			createLog: (events) => new ChannelLog(new MemoryReplayStore(), 'a', events),
			host: {
				flushSoon: () => {},
				countMessage: () => {},
				countDrop: () => drops++,
				meters: new HubMeters()
			},
			bounds: { maxValidating: 2 } satisfies FeedBounds
		}
	);
	const reader = createReader('t');
	feed.attach(reader);
	feed.live();
	for (let n = 0; n < 5; n++) feed.message(message('t', n));
	expect(drops).toBe(2);
	answer();
	await new Promise(setImmediate);
	feed.flush();
	const entries = reader.batches.flatMap((batch) => batch.entries);
	expect(entries.map(({ kind }) => kind)).toEqual(['message', 'message', 'message', 'resync']);
});

test('events that wait for an asynchronous store are bounded, and what is dropped is told', async () => {
	let stored = (): void => {};
	const memory = new MemoryReplayStore();
	const store = {
		append: async (...args: Parameters<MemoryReplayStore['append']>) => {
			await new Promise<void>((resolve) => (stored = resolve));
			return memory.append(...args);
		},
		since: (...args: Parameters<MemoryReplayStore['since']>) => memory.since(...args),
		bounds: (log: string) => memory.bounds(log)
	};
	const error = vi.fn();
	const log = new ChannelLog(
		store,
		'a',
		{ entries: () => {}, missed: () => {}, gapEvent: vi.fn(), error },
		2
	);
	log.open();
	const append = (n: number): void =>
		log.append({ key: `${n}`, kind: 'message', topic: 't', payload: '{}' });
	for (let n = 0; n < 3; n++) append(n);
	expect(error).not.toHaveBeenCalled();
	append(3);
	expect(error).toHaveBeenCalledOnce();
	expect(String(error.mock.calls[0]![0])).toContain('2 events waited');
	while (log.settled()) {
		stored();
		await new Promise(setImmediate);
	}
	expect(memory.size.events).toBe(2);
});

test('keys of messages that are alike are remembered up to a bound', () => {
	const keys = new EventKeys(2);
	const keyOf = (data: string): string => keys.keyOf(message('t', data));
	expect(keyOf('a')).toBe('"a"\n1');
	expect(keyOf('a')).toBe('"a"\n2');
	keyOf('b');
	keyOf('c');
	// The one seen longest ago is forgotten.
	expect(keyOf('a')).toBe('"a"\n1');
	expect(keyOf('c')).toBe('"c"\n2');
});
