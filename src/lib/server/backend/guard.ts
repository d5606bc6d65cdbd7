import { parseCursor } from '../../protocol/cursor.js';
import { inTime } from '../runtime/deadline.js';
import { whenReady, type Answer } from '../runtime/thenable.js';
import type { ReplayBounds, ReplaySlice, ReplayStore } from './replay.js';

/** A store that takes longer to answer, in milliseconds, fails. */
export const STORE_TIMEOUT_MS = 10_000;

/** A store whose answers come in time and are what they should be, or fail. */
export interface GuardedStore extends ReplayStore {
	append(
		...args: Parameters<ReplayStore['append']>
	): readonly string[] | Promise<readonly string[]>;
	since(...args: Parameters<ReplayStore['since']>): ReplaySlice | Promise<ReplaySlice>;
	bounds(log: string): ReplayBounds | Promise<ReplayBounds>;
}

/**
 * Puts a time limit on every call to a store and checks its answers, so that whoever calls it only has
 * to handle success and failure. A call that answers at once still answers at once.
 *
 * Appending has no limit: events that a store took late would come after those that followed them.
 */
export function guardStore(store: ReplayStore): GuardedStore {
	const { appendAndRead } = store;
	return {
		append: (log, events) =>
			whenReady(store.append(log, events), (cursors) => {
				cursors.forEach(checkCursor);
				return cursors;
			}),
		since: (log, cursor, limit) => answered(store.since(log, cursor, limit), checkSlice),
		bounds: (log) =>
			answered(store.bounds(log), (bounds) => {
				checkCursor(bounds.first);
				checkCursor(bounds.last);
				return bounds;
			}),
		...(appendAndRead && {
			appendAndRead: (log, events, cursor, limit) =>
				whenReady(appendAndRead.call(store, log, events, cursor, limit), checkSlice)
		}),
		limit: (log, limits) => store.limit?.(log, limits),
		release: (log) => store.release?.(log),
		clear: (log) => answered(store.clear?.(log), () => {}),
		get size() {
			return store.size ?? { events: 0, bytes: 0 };
		}
	};
}

function checkSlice(slice: ReplaySlice): ReplaySlice {
	for (const { cursor } of slice.events) checkCursor(cursor);
	return slice;
}

function checkCursor(cursor: string): void {
	if (typeof cursor === 'string' && parseCursor(cursor)) return;
	throw new TypeError(
		`The replay store answered with the cursor ${JSON.stringify(cursor)}; a cursor is "<epoch>-<sequence>".`
	);
}

/** Rejects when the answer takes too long; what comes later is of no use. */
function answered<T, R>(answer: Answer<T>, then: (value: T) => R): R | Promise<R> {
	return inTime(whenReady(answer, then), STORE_TIMEOUT_MS, noAnswer);
}

/** What a store that does not answer fails with. */
export function noAnswer(): Error {
	return new Error(`The replay store has not answered for ${STORE_TIMEOUT_MS / 1000} s.`);
}
