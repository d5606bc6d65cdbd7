import { parseCursor } from '../../protocol/cursor.js';
import { noAnswer, STORE_TIMEOUT_MS, type GuardedStore } from '../backend/guard.js';
import { MemoryReplayStore } from '../backend/memory.js';
import type { ReplayBounds, ReplayEvent, ReplaySlice } from '../backend/replay.js';
import { unref } from '../runtime/runtime.js';
import { isThenable, whenReady } from '../runtime/thenable.js';
import { LogEntry } from './entry.js';

/**
 * Most events that may wait for an asynchronous store; beyond that they are dropped, and a gap is announced.
 */
const MAX_WAITING = 10_000;

/** Most events that are read from the store at once. */
export const PAGE_EVENTS = 1_000;

/** Entries after a cursor. */
export interface LogSlice {
	entries: LogEntry[];
	missed?: ReplaySlice['missed'];
	/** More entries follow the last one. */
	more?: boolean;
	/** Where a reader continues if its position is unknown. @default with the next message */
	position?: string;
}

/** What a log tells its feed. */
export interface LogEvents {
	entries(entries: readonly LogEntry[]): void;
	/** The store dropped entries before they could be delivered. */
	missed(): void;
	/** @returns the event that says that messages may be missing. */
	gapEvent(key: string): ReplayEvent;
	error(error: unknown): void;
}

/** A channel's log: numbers and keeps events, and delivers them in one order. */
export interface Log {
	/** Cursor of the last delivered entry; `null` until an asynchronous store has answered. */
	readonly cursor: string | null;
	/** A text for people that says what is limited now; `undefined` if nothing is. */
	readonly limitation: string | undefined;
	/** How often the log has returned to a backend after an outage. */
	readonly era: number;
	/**
	 * Finds out where the log ends, once the feed receives messages.
	 *
	 * @returns whether it has everything up to now, because it is new or because another process was listening;
	 *   a promise only if the store is asynchronous.
	 */
	open(): Promise<{ isComplete: boolean }> | { isComplete: boolean };
	/** @param isQuiet Whether to hide the event from those who follow the log now. */
	append(event: ReplayEvent, isQuiet?: boolean): void;
	/**
	 * @param limit Most entries; a log may return fewer.
	 * @returns entries after `cursor`; a promise only if the store is asynchronous.
	 */
	since(cursor: string, limit?: number): Promise<LogSlice> | LogSlice;
	/** @returns where it begins and ends; a promise only if the store is asynchronous. */
	bounds(): Promise<ReplayBounds> | ReplayBounds;
	/** Resolves when everything appended so far has been delivered; `undefined` if it has been already. */
	settled(): Promise<void> | undefined;
	/** Nobody needs the log any more. */
	release(): void;
}

/**
 * A channel's log: puts events into the store and delivers them in the store's order. A store that answers at
 * once is never awaited. If several processes share the store, its log is what is delivered, so that all
 * processes send the same order, no matter which of them received a message first.
 */
export class ChannelLog implements Log {
	cursor: string | null = null;
	readonly limitation = undefined;
	readonly era = 0;
	readonly #store: GuardedStore;
	readonly #key: string;
	readonly #events: LogEvents;
	readonly #maxWaiting: number;
	#waiting: ReplayEvent[] = [];
	#busy: Promise<void> | undefined;
	#released = false;

	/** @param key Name of the log in the store. */
	constructor(store: GuardedStore, key: string, events: LogEvents, maxWaiting = MAX_WAITING) {
		this.#store = store;
		this.#key = key;
		this.#events = events;
		this.#maxWaiting = maxWaiting;
	}

	open(): Promise<{ isComplete: boolean }> | { isComplete: boolean } {
		return whenReady(this.#store.bounds(this.#key), (bounds) => {
			// Everything in it was emitted here.
			const isComplete = this.cursor !== null || isNewLog(bounds);
			this.cursor = bounds.last;
			return { isComplete };
		});
	}

	append(event: ReplayEvent): void {
		// A late answer must not begin a new epoch.
		if (this.#released) return;
		if (this.#busy) {
			if (this.#waiting.length === this.#maxWaiting) {
				this.#waiting = [];
				this.#events.error(
					new Error(`The replay store does not answer; ${this.#maxWaiting} events waited.`)
				);
			}
			this.#waiting.push(event);
			return;
		}
		let cursors: ReturnType<GuardedStore['append']>;
		try {
			cursors = this.#store.append(this.#key, [event]);
		} catch (error) {
			this.#events.error(error);
			return;
		}
		if (isThenable(cursors)) {
			this.#busy = this.#drain(cursors);
			return;
		}
		const cursor = (this.cursor = cursors[0]!);
		const { kind, topic, payload } = event;
		this.#events.entries([new LogEntry({ cursor, kind, topic, payload })]);
	}

	since(cursor: string, limit = PAGE_EVENTS): Promise<LogSlice> | LogSlice {
		return whenReady(this.#store.since(this.#key, cursor, limit), readSlice);
	}

	bounds(): Promise<ReplayBounds> | ReplayBounds {
		return this.#store.bounds(this.#key);
	}

	settled(): Promise<void> | undefined {
		return this.#busy;
	}

	release(): void {
		if (this.#released) return;
		this.#released = true;
		this.#waiting = [];
		this.#markEnd();
		this.#store.release?.(this.#key);
	}

	/**
	 * Marks the end of an empty log, if the store keeps the mark: otherwise nobody could tell later that a
	 * reader with its first position has missed something.
	 */
	#markEnd(): void {
		const isEmpty = this.cursor !== null && parseCursor(this.cursor)?.sequence === 0;
		if (!isEmpty || this.#store instanceof MemoryReplayStore) return;
		// If this fails, nobody needs the log any more.
		void (async () =>
			this.#store.append(this.#key, [this.#events.gapEvent(`end\n${this.cursor}`)]))().catch(
			() => {}
		);
	}

	async #drain(first: PromiseLike<unknown>): Promise<void> {
		let appended = first;
		for (;;) {
			try {
				await this.#awaited(appended);
				await this.#handOn();
			} catch (error) {
				this.#events.error(error);
			}
			const events = this.#waiting;
			if (events.length === 0) break;
			this.#waiting = [];
			appended = new Promise((resolve) => resolve(this.#store.append(this.#key, events)));
		}
		this.#busy = undefined;
	}

	/**
	 * Waits for events to be stored, and reports it each time that this takes too long. It never gives up:
	 * events that are stored late would come after later ones.
	 */
	async #awaited(stored: PromiseLike<unknown>): Promise<void> {
		const timer = unref(setInterval(() => this.#events.error(noAnswer()), STORE_TIMEOUT_MS));
		try {
			await stored;
		} finally {
			clearInterval(timer);
		}
	}

	/** Delivers what the store has after the last delivered entry. */
	async #handOn(): Promise<void> {
		for (let more: boolean | undefined = true; more;) {
			if (this.cursor === null) return;
			const slice = await this.since(this.cursor);
			let { entries } = slice;
			({ more } = slice);
			if (slice.missed && entries.length === 0) {
				// The store lost the log that this one continued from: everything it has now is new.
				this.cursor = (await this.bounds()).first;
				({ entries, more } = await this.since(this.cursor));
			}
			const last = entries.at(-1);
			if (last) {
				this.cursor = last.cursor;
				this.#events.entries(entries);
			} else more = false;
			if (slice.missed) this.#events.missed();
		}
	}
}

/** Whether a log has always been empty. */
export function isNewLog({ first, last, isNew }: ReplayBounds): boolean {
	return isNew ?? (first === last && last.endsWith('-0'));
}

/** Whether a slice is the answer for a position that the log does not know. */
export function isOfOtherLog({ missed }: Pick<LogSlice, 'missed'>): boolean {
	return missed !== undefined && missed !== 'expired';
}

/** @returns the slice with its events as entries. */
export function readSlice({ events, ...rest }: ReplaySlice): LogSlice {
	return { ...rest, entries: events.map((event) => new LogEntry(event)) };
}
