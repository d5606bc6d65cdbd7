import { HubMeters } from '../../src/lib/server/metrics/hubMeters.js';
import { expect, test } from 'vitest';
import type { Report } from '../../src/lib/server/failure/report.js';
import type { Batch } from '../../src/lib/server/hub/batch.js';
import { Feed } from '../../src/lib/server/hub/feed.js';
import { ChannelLog } from '../../src/lib/server/hub/log.js';
import type { FeedReader } from '../../src/lib/server/hub/readers.js';
import { MemoryReplayStore } from '../../src/lib/server/backend/memory.js';

function createFeed(): Feed {
	const feed: Feed = new Feed(
		{ channel: 'a', entry: 'a', topics: ['t'], definitions: {} },
		{
			createLog: (events) => new ChannelLog(new MemoryReplayStore(), 'a', events),
			host: {
				flushSoon: () => feed.flush(),
				countMessage: () => {},
				countDrop: () => {},
				meters: new HubMeters()
			}
		}
	);
	return feed;
}

function createReader(overrides: Partial<FeedReader> = {}): FeedReader & { told: string[] } {
	const told: string[] = [];
	return {
		told,
		topics: new Set(['t']),
		report: ({ message }) => message,
		deliver: ({ entries }: Batch) => told.push(`${entries.length} delivered`),
		changed: () => told.push('changed'),
		failed: () => told.push('failed'),
		...overrides
	};
}

test('failures are told to the endpoints that have readers, and a reason only once', () => {
	const feed = createFeed();
	const causes: string[] = [];
	const report: Report = ({ cause, message }) => {
		causes.push((cause as Error).message);
		return message;
	};
	const [first, second] = [createReader({ report }), createReader({ report })];
	feed.attach(first);
	feed.attach(second);
	feed.live();
	feed.lost(new Error('cut'));
	feed.failed(new Error('refused'));
	feed.failed(new Error('refused'));
	feed.detach(first);
	feed.failed(new Error('no answer'));
	feed.detach(second);
	feed.failed(new Error('to nobody'));
	expect(causes).toEqual(['cut', 'refused', 'no answer']);
});
