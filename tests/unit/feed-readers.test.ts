import { expect, test } from 'vitest';
import type { Batch } from '../../src/lib/server/hub/batch.js';
import { Feed } from '../../src/lib/server/hub/feed.js';
import { ChannelLog } from '../../src/lib/server/hub/log.js';
import type { FeedReader } from '../../src/lib/server/hub/readers.js';
import type { SourceMessage } from '../../src/lib/server/hub/source.js';
import { MemoryReplayStore } from '../../src/lib/server/backend/memory.js';

/** A feed whose flushes are up to the test. */
function createFeed(topics: readonly string[] = ['t']): Feed {
	return new Feed(
		{ channel: 'a', topics, definitions: {} },
		{
			createLog: (events) => new ChannelLog(new MemoryReplayStore(), 'a', events),
			host: { flushSoon: () => {}, countMessage: () => {}, countDrop: () => {} }
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
	const options = { report: reader.report, withId: false, cursor: null };
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
