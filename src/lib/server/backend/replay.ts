import type { ResyncReason } from '../../protocol/health.js';
import type { Answer } from '../runtime/thenable.js';

/** One event of a channel's log. */
export interface ReplayEvent {
	/** Identifies the message: every process that receives it computes the same key. */
	readonly key: string;
	/** A `resync` is for the readers of every topic. */
	readonly kind: 'message' | 'resync';
	/** Topic of a message; `null` for a `resync`. */
	readonly topic: string | null;
	/** The JSON that is sent. */
	readonly payload: string;
}

/** An event and its position. */
export interface ReplayedEvent extends Omit<ReplayEvent, 'key' | 'kind'> {
	/** @default 'resync' where `topic` is `null`, else 'message' */
	readonly kind?: ReplayEvent['kind'];
	/** `<epoch>-<sequence>`: see {@link ReplayStore}. */
	readonly cursor: string;
}

/** The events after a cursor. */
export interface ReplaySlice {
	events: readonly ReplayedEvent[];
	/** Set if messages between the cursor and the first of `events` are gone. */
	missed?: Exclude<ResyncReason, 'upstream-gap'>;
	/** Set if `limit` cut the slice: more events follow. */
	more?: boolean;
}

/** Where a log begins and ends. */
export interface ReplayBounds {
	/** Cursor before the oldest event. */
	first: string;
	/** Cursor at the newest event; equal to `first` if there is none. */
	last: string;
	/** Whether nobody has ever appended to this log. @default true when `last` has the sequence 0 */
	isNew?: boolean;
}

/** Bounds of one channel's log. */
export interface ReplayLimits {
	/** Most messages kept. */
	maxEvents?: number;
	/** Age, in milliseconds, after which a message is dropped. */
	maxAgeMs?: number;
}

/** Settings of one log. */
export interface LogLimits extends ReplayLimits {
	/** Topics of which only the newest message matters. A store may keep more. */
	latest?: readonly string[];
}

/**
 * Where the recent messages of channels are kept. A store in this process answers at once. A store that
 * several processes share may answer with promises. It gives a message the same cursor in all of them. If a
 * store throws, rejects, or does not answer within 10 seconds, the channel's streams end and come back.
 *
 * The name of a log contains its channel, registry entry and topics. A cursor is
 * `<epoch>-<sequence>`: the epoch (letters, digits, `_` and `.`, at most 64) names one life of the log,
 * and the sequence counts its events from 1. Other cursors are refused.
 *
 * A cursor beyond the end of its epoch means that the server has lost the end of the log. The store then
 * begins a new epoch, because readers would take new messages for repeats and drop them. Two cursors of
 * different epochs do not mean that anything is missing: only `since` can tell.
 */
export interface ReplayStore {
	/**
	 * Adds events in order. An event whose key the log already has keeps its first cursor.
	 *
	 * @returns a cursor per event.
	 */
	append(log: string, events: readonly ReplayEvent[]): Answer<readonly string[]>;
	/**
	 * The events after `cursor`, in order; with `missed` if messages after it are gone.
	 *
	 * @param limit Most events to return. A store may return fewer, and then sets `more`.
	 */
	since(log: string, cursor: string, limit?: number): Answer<ReplaySlice>;
	/** Where the log begins and ends. An unknown log begins a new epoch. */
	bounds(log: string): Answer<ReplayBounds>;
	/**
	 * Appends events and returns what follows `cursor`, in one round trip. Without it the feed calls
	 * `append` and `since`.
	 */
	appendAndRead?(
		log: string,
		events: readonly ReplayEvent[],
		cursor: string,
		limit: number
	): Answer<ReplaySlice>;
	/** Gives a log its own bounds. Called before its first use. */
	limit?(log: string, limits: LogLimits): void;
	/** Called when nobody in this process listens to the log any more. */
	release?(log: string): void;
	/** Erases a log. A reader that resumes from an earlier cursor is told that messages are missing. */
	clear?(log: string): Answer<void>;
	/** What is kept now, if the store can tell. */
	readonly size?: { readonly events: number; readonly bytes: number };
}
