import { compareCursors } from '../protocol/cursor.js';
import { EVENT } from '../protocol/constants.js';
import { encodeEvent } from '../protocol/frame.js';
import type { RealtimeTopicEnvelope } from '../protocol/types.js';
import { unref } from './node.js';
import type { ReplayEvent, ReplayStore, ReplaySlice } from './replay.js';

/** An event with its position. What is derived from it is made once, and only where it is needed. */
export class LogEntry {
	readonly cursor: string;
	/** `null` for a `resync`, which goes to the readers of every topic. */
	readonly topic: string | null;
	readonly #payload: string;
	#envelope: RealtimeTopicEnvelope | undefined;
	#frame: Uint8Array | undefined;

	constructor(cursor: string, event: Omit<ReplayEvent, 'key'>) {
		this.cursor = cursor;
		this.topic = event.topic;
		this.#payload = event.payload;
	}

	get frame(): Uint8Array {
		const name = this.topic === null ? EVENT.resync : EVENT.message;
		return (this.#frame ??= encodeEvent(name, this.#payload, this.cursor));
	}

	/** The message as its readers see it, after JSON; not to be read from a `resync`. */
	get envelope(): RealtimeTopicEnvelope {
		return (this.#envelope ??= JSON.parse(this.#payload) as RealtimeTopicEnvelope);
	}
}

/** Events that may wait for an asynchronous store; past that they are dropped and announced. */
const MAX_WAITING = 10_000;

/** A store that takes longer to answer fails. */
const TIMEOUT_MS = 10_000;

/** Entries after a cursor. */
export interface LogSlice {
	entries: LogEntry[];
	missed?: ReplaySlice['missed'];
}

/**
 * A channel's log: puts events into the store and hands them on in the store's order. A store that
 * answers at once is never awaited. With one shared by several processes the log of the store is what
 * is handed on, so that all processes send one order, whichever of them received a message first.
 */
export class ChannelLog {
	/** Cursor of the last entry handed on; `null` until a store that answers later has told it. */
	cursor: string | null = null;
	readonly #store: ReplayStore;
	readonly #channel: string;
	readonly #onEntries: (entries: readonly LogEntry[]) => void;
	readonly #onMissed: () => void;
	readonly #onError: (error: unknown) => void;
	#waiting: ReplayEvent[] = [];
	#busy: Promise<void> | undefined;
	#released = false;

	constructor(
		store: ReplayStore,
		channel: string,
		handlers: {
			onEntries: (entries: readonly LogEntry[]) => void;
			/** The store dropped entries before they could be handed on. */
			onMissed: () => void;
			onError: (error: unknown) => void;
		}
	) {
		this.#store = store;
		this.#channel = channel;
		this.#onEntries = handlers.onEntries;
		this.#onMissed = handlers.onMissed;
		this.#onError = handlers.onError;
	}

	/** Learns where the log stands. @returns a promise only where the store needs one. */
	open(): Promise<{ isNew: boolean }> | { isNew: boolean } {
		const opened = ({ first, last }: { first: string; last: string }): { isNew: boolean } => {
			this.cursor = last;
			return { isNew: first === last && last.endsWith('-0') };
		};
		const bounds = this.#store.bounds(this.#channel);
		return bounds instanceof Promise ? inTime(bounds).then(opened) : opened(bounds);
	}

	append(event: ReplayEvent): void {
		// What comes late must not begin a new epoch.
		if (this.#released) return;
		if (this.#busy) {
			if (this.#waiting.length === MAX_WAITING) {
				this.#waiting = [];
				this.#onError(new Error(`The replay store does not answer; ${MAX_WAITING} events waited.`));
			}
			this.#waiting.push(event);
			return;
		}
		let cursors: ReturnType<ReplayStore['append']>;
		try {
			cursors = this.#store.append(this.#channel, [event]);
		} catch (error) {
			this.#onError(error);
			return;
		}
		if (cursors instanceof Promise) {
			this.#busy = this.#drain(cursors);
			return;
		}
		this.cursor = cursors[0]!;
		this.#onEntries([new LogEntry(this.cursor, event)]);
	}

	/** Entries after `cursor`. @returns a promise only where the store needs one. */
	since(cursor: string): Promise<LogSlice> | LogSlice {
		const read = ({ events, missed }: ReplaySlice): LogSlice => ({
			entries: events.map((event) => new LogEntry(event.cursor, event)),
			...(missed && { missed })
		});
		const slice = this.#store.since(this.#channel, cursor);
		return slice instanceof Promise ? inTime(slice).then(read) : read(slice);
	}

	/** Resolves when everything appended so far has been handed on; nothing where that is so already. */
	settled(): Promise<void> | undefined {
		return this.#busy;
	}

	release(): void {
		if (this.#released) return;
		this.#released = true;
		this.#waiting = [];
		this.#store.release?.(this.#channel);
	}

	async #drain(first: Promise<readonly string[]>): Promise<void> {
		let appended = first;
		for (;;) {
			try {
				await this.#awaited(appended);
				await this.#handOn();
			} catch (error) {
				this.#onError(error);
			}
			const events = this.#waiting;
			if (events.length === 0) break;
			this.#waiting = [];
			appended = new Promise((resolve) => resolve(this.#store.append(this.#channel, events)));
		}
		this.#busy = undefined;
	}

	/**
	 * Waits for events to be stored, and says so as often as that takes too long. It is never given up:
	 * events that the store took late would come after those that followed.
	 */
	#awaited<T>(stored: Promise<T>): Promise<T> {
		const timer = unref(setInterval(() => this.#onError(noAnswer()), TIMEOUT_MS));
		return stored.finally(() => clearInterval(timer));
	}

	async #handOn(): Promise<void> {
		if (this.cursor === null) return;
		const { missed, ...slice } = await this.since(this.cursor);
		let { entries } = slice;
		if (missed && entries.length === 0) {
			// The store lost the log that this one went on from: what it has now is all new.
			const { first } = await inTime(Promise.resolve(this.#store.bounds(this.#channel)));
			this.cursor = first;
			({ entries } = await this.since(first));
		}
		const last = entries.at(-1);
		if (last) {
			this.cursor = last.cursor;
			this.#onEntries(entries);
		}
		if (missed) this.#onMissed();
	}
}

/** Rejects when the store takes too long; what it answers later is of no use. */
function inTime<T>(answer: Promise<T>): Promise<T> {
	let timer: ReturnType<typeof setTimeout>;
	const late = new Promise<never>((_, reject) => {
		timer = unref(setTimeout(() => reject(noAnswer()), TIMEOUT_MS));
	});
	return Promise.race([answer, late]).finally(() => clearTimeout(timer));
}

function noAnswer(): Error {
	return new Error(`The replay store has not answered for ${TIMEOUT_MS / 1000} s.`);
}

/** @returns whether a position lies after another; positions of different epochs do. */
export function isAfter(cursor: string, other: string | null): boolean {
	return other === null || (compareCursors(cursor, other) ?? 1) > 0;
}
