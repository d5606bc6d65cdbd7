import { compareCursors, parseCursor } from '../protocol/cursor.js';
import { RealtimeError } from '../protocol/errors.js';
import type { HistoryRequest } from '../protocol/request.js';
import type { Positioned, RealtimeTopicEnvelope } from '../protocol/types.js';
import { isDate } from './access/request.js';
import type { View } from './access/view.js';
import type { ReplaySlice } from './backend/replay.js';
import { feedCursor } from './cursor.js';
import type { Report } from './failure/report.js';
import type { Hub } from './hub/hub.js';
import type { LogEntry } from './hub/entry.js';
import type { FeedSpec } from './hub/source.js';

/** Which messages `history` returns. */
export interface RealtimeHistoryRange {
	/** Only messages after this cursor, or from this date on, by the clock of the sender. */
	since?: string | Date;
	/** Only messages before this cursor. */
	before?: string;
	/**
	 * Most messages to return: the first ones with `since`, otherwise the newest. At most 1,000. @default 100
	 */
	limit?: number;
}

/** What `history` returns. */
export interface RealtimeHistory<TMessage> {
	/** Oldest first. */
	messages: TMessage[];
	/** The position to read on from: after the last message, or where the log ends. */
	cursor: string;
	/** Why messages after `since` are missing; absent if none are. */
	missed?: NonNullable<ReplaySlice['missed']>;
}

type Message = Positioned<RealtimeTopicEnvelope>;

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1_000;

/**
 * Reads the log of a channel.
 *
 * @throws {RealtimeError} `INVALID_OPTION` for options that cannot work, `BACKEND` when the backend that
 *   keeps the log is unavailable.
 */
export async function readHistory(
	hub: Hub,
	feed: FeedSpec,
	options: RealtimeHistoryRange & { topics: ReadonlySet<string>; report: Report; check?: View }
): Promise<RealtimeHistory<Message>> {
	const { since, before, limit = DEFAULT_LIMIT, topics, report, check } = options;
	checkRange({ since, before, limit });
	const most = Math.min(limit, MAX_LIMIT);
	// A log in this process only has messages while its feed lives.
	if (!hub.isLogShared) await feedCursor(hub, feed, report);
	return hub.readLog(feed, async (log) => {
		let position = typeof since === 'string' ? since : (await log.bounds()).first;
		let slice = await log.since(position);
		const missed = typeof since === 'string' ? slice.missed : undefined;
		if (slice.missed && slice.entries.length === 0) {
			// The cursor is from another log, so all messages of this one are new.
			position = (await log.bounds()).first;
			slice = await log.since(position);
		}
		/** Messages in range that have not been checked yet. */
		const found: LogEntry[] = [];
		const seen: LogEntry[] = [];
		const end = async (): Promise<RealtimeHistory<Message>> => {
			while (found.length > 0 && seen.length < most) {
				const entry = found.pop()!;
				const passed = check ? await check(entry) : entry;
				if (passed) seen.unshift(passed);
			}
			return {
				messages: seen.map(({ envelope, cursor }) => ({ ...envelope, cursor })),
				cursor: position,
				...(missed && { missed })
			};
		};
		for (;;) {
			for (const entry of slice.entries) {
				const { cursor, kind, topic } = entry;
				if (before !== undefined && !isBefore(cursor, before)) return end();
				position = cursor;
				if (kind !== 'message' || !topics.has(topic!)) continue;
				if (since instanceof Date && new Date(entry.envelope.createdAt) < since) continue;
				if (since === undefined) {
					found.push(entry);
					if (!check && found.length > most) found.shift();
					continue;
				}
				const passed = check ? await check(entry) : entry;
				if (passed) seen.push(passed);
				if (seen.length === most) return end();
			}
			if (!slice.more || slice.entries.length === 0) return end();
			slice = await log.since(position);
		}
	});
}

/** Turns the request into a range. */
export function rangeOf({ since, before, limit }: HistoryRequest): RealtimeHistoryRange {
	return {
		...(since !== undefined && { since: isDate(since) ? new Date(since) : since }),
		...(before !== undefined && { before }),
		...(limit !== undefined && { limit })
	};
}

function isBefore(cursor: string, other: string): boolean {
	return (compareCursors(cursor, other) ?? 0) < 0;
}

function checkRange({ since, before, limit }: RealtimeHistoryRange): void {
	if (!Number.isSafeInteger(limit) || limit! < 1) {
		throw invalid(`\`limit\` of history() must be a whole number from 1, not ${limit}.`);
	}
	if (since instanceof Date ? Number.isNaN(since.getTime()) : isNoCursor(since)) {
		throw invalid('`since` of history() is neither a cursor nor a valid date.');
	}
	if (isNoCursor(before)) throw invalid('`before` of history() is not a cursor.');
}

function isNoCursor(cursor: string | undefined): boolean {
	return cursor !== undefined && parseCursor(cursor) === null;
}

function invalid(message: string): RealtimeError {
	return new RealtimeError('INVALID_OPTION', message);
}
