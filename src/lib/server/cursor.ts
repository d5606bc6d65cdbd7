import { UNKNOWN_CURSOR } from '../protocol/cursor.js';
import type { Report } from './failure/report.js';
import type { Hub } from './hub/hub.js';
import type { FeedReader } from './hub/readers.js';
import type { FeedSpec } from './hub/source.js';
import { unref } from './runtime/runtime.js';

/** Time limit, in milliseconds, for a feed to come live. */
const LIVE_TIMEOUT_MS = 3_000;

/**
 * Brings a feed live and returns its position. The feed is then kept warm, as after any reader. Never
 * rejects: if the feed does not come live, or ends, a page that starts from the cursor gets a `resync`.
 */
export function feedCursor(hub: Hub, spec: FeedSpec, report: Report): Promise<string> {
	return new Promise((resolve) => {
		const feed = hub.enter(spec);
		const settle = (cursor: string): void => {
			clearTimeout(timer);
			hub.leave(feed, reader);
			resolve(cursor);
		};
		const timer = unref(setTimeout(() => settle(UNKNOWN_CURSOR), LIVE_TIMEOUT_MS));
		const reader: FeedReader = {
			topics: new Set(),
			report,
			deliver() {},
			changed: () => settle(feed.log.cursor ?? UNKNOWN_CURSOR),
			failed: () => settle(UNKNOWN_CURSOR)
		};
		feed.attach(reader);
		// A feed that was live has a log, even while its source is unavailable: the log records that gap, too.
		if (feed.status !== 'connecting') reader.changed();
	});
}
