import { formatCursor, parseCursor } from '../../protocol/cursor.js';
import type { RealtimeBackend } from './backend.js';
import type { ReplayedEvent, ReplayEvent, LogLimits, ReplaySlice, ReplayStore } from './replay.js';

/** Bounds of the in-memory log. */
export interface ReplayOptions {
	/** Most messages kept per channel. @default 1000 */
	maxEvents?: number;
	/** Age, in milliseconds, after which a message is dropped. @default 3_600_000 */
	maxAgeMs?: number;
	/** Most bytes kept for all channels of the process; the oldest message goes first. @default 16_777_216 */
	maxBytes?: number;
	/** A clock in milliseconds; only differences matter. @default performance.now */
	now?: () => number;
}

interface Entry {
	readonly log: Log;
	readonly kind: ReplayEvent['kind'];
	readonly topic: string | null;
	/** Removed when the entry is dropped, so that lists that still have the entry do not hold its text. */
	payload: string | undefined;
	readonly bytes: number;
	readonly atMs: number;
	readonly sequence: number;
}

/**
 * Events of one channel: `entries[head…]`, in order. Of a latest-value topic only the newest has a payload.
 */
interface Log {
	readonly epoch: string;
	readonly maxEvents: number;
	readonly maxAgeMs: number;
	entries: Entry[];
	head: number;
	/** Sequence of the newest event that is gone and was not superseded. */
	first: number;
	last: number;
	/** Newest entry of each latest-value topic; `null` before the first. */
	readonly latest: Map<string, Entry | null>;
	/** Superseded entries of `entries[head…]`. */
	superseded: number;
}

/** Approximate cost of an entry besides its payload. */
const ENTRY_BYTES = 160;

/** The part of every epoch that identifies the process. */
const PROCESS = Math.random().toString(36).slice(2, 10);

let epochs = 0;

/** The log kept in this process: a ring per channel, and one budget of bytes for all of them. */
export class MemoryReplayStore implements ReplayStore {
	readonly #maxEvents: number;
	readonly #maxAgeMs: number;
	readonly #maxBytes: number;
	readonly #now: () => number;
	readonly #logs = new Map<string, Log>();
	readonly #limits = new Map<string, LogLimits>();
	/** All entries, oldest first, from `#oldest` on. Some may have been dropped by their own log already. */
	#order: Entry[] = [];
	#oldest = 0;
	#bytes = 0;
	#size = 0;

	constructor(options: ReplayOptions = {}) {
		this.#maxEvents = options.maxEvents ?? 1000;
		this.#maxAgeMs = options.maxAgeMs ?? 3_600_000;
		this.#maxBytes = options.maxBytes ?? 16 * 1024 * 1024;
		this.#now = options.now ?? (() => performance.now());
	}

	/** Bytes and events kept now. */
	get size(): { bytes: number; events: number } {
		return { bytes: this.#bytes, events: this.#size };
	}

	/** Gives a channel its own bounds, from its next epoch on. */
	limit(channel: string, limits: LogLimits): void {
		this.#limits.set(channel, limits);
	}

	append(channel: string, events: readonly ReplayEvent[]): readonly string[] {
		const log = this.#log(channel);
		const atMs = this.#now();
		const cursors = events.map((event) => {
			const sequence = ++log.last;
			const { kind, topic, payload } = event;
			const bytes = payload.length + ENTRY_BYTES;
			const entry = { log, kind, topic, payload, atMs, sequence, bytes };
			this.#supersede(log, entry);
			log.entries.push(entry);
			this.#order.push(entry);
			this.#bytes += entry.bytes;
			this.#size++;
			return formatCursor(log.epoch, sequence);
		});
		this.#trim(log);
		while (this.#bytes > this.#maxBytes) this.#dropOldest();
		this.#compact();
		return cursors;
	}

	since(channel: string, cursor: string, limit = Infinity): ReplaySlice {
		const log = this.#log(channel);
		this.#trim(log);
		const position = parseCursor(cursor);
		if (position?.epoch !== log.epoch || position.sequence > log.last) {
			const sameProcess = position?.epoch.startsWith(`${PROCESS}.`);
			return { events: [], missed: sameProcess ? 'idle' : 'restart' };
		}
		const events: ReplayedEvent[] = [];
		let next = indexAfter(log, position.sequence);
		for (; next < log.entries.length && events.length < limit; next++) {
			const { kind, topic, payload, sequence } = log.entries[next]!;
			if (payload === undefined) continue;
			events.push({ cursor: formatCursor(log.epoch, sequence), kind, topic, payload });
		}
		return {
			events,
			...(position.sequence < log.first && { missed: 'expired' as const }),
			...(next < log.entries.length && { more: true })
		};
	}

	bounds(channel: string): { first: string; last: string } {
		const log = this.#log(channel);
		this.#trim(log);
		return { first: formatCursor(log.epoch, log.first), last: formatCursor(log.epoch, log.last) };
	}

	/** Ends the channel's epoch. */
	release(channel: string): void {
		this.#limits.delete(channel);
		this.clear(channel);
	}

	/** Erases a channel's log. It continues in a new epoch. */
	clear(channel: string): void {
		const log = this.#logs.get(channel);
		if (!log) return;
		this.#logs.delete(channel);
		while (log.head < log.entries.length) this.#dropFirst(log);
		this.#compact();
	}

	#log(channel: string): Log {
		let log = this.#logs.get(channel);
		if (!log) {
			const limits = this.#limits.get(channel);
			log = {
				epoch: `${PROCESS}.${(++epochs).toString(36)}`,
				maxEvents: limits?.maxEvents ?? this.#maxEvents,
				maxAgeMs: limits?.maxAgeMs ?? this.#maxAgeMs,
				entries: [],
				head: 0,
				first: 0,
				last: 0,
				latest: new Map((limits?.latest ?? []).map((topic) => [topic, null])),
				superseded: 0
			};
			this.#logs.set(channel, log);
		}
		return log;
	}

	#trim(log: Log): void {
		const oldestMs = this.#now() - log.maxAgeMs;
		for (;;) {
			const entry = log.entries[log.head];
			if (!entry) return;
			const kept = log.entries.length - log.head - log.superseded;
			if (entry.payload !== undefined && kept <= log.maxEvents && entry.atMs >= oldestMs) return;
			this.#dropFirst(log);
		}
	}

	/** Drops the oldest entry of all channels. */
	#dropOldest(): void {
		const entry = this.#order[this.#oldest++]!;
		if (entry.payload === undefined) return;
		// Entries leave their log oldest first: before one that is still there, there are only superseded ones.
		while (entry.payload !== undefined) this.#dropFirst(entry.log);
	}

	#dropFirst(log: Log): void {
		const entry = log.entries[log.head]!;
		log.head++;
		if (entry.payload === undefined) log.superseded--;
		else {
			log.first = entry.sequence;
			this.#forget(entry);
		}
		if (log.head > 64 && log.head * 2 > log.entries.length) {
			log.entries = log.entries.slice(log.head);
			log.head = 0;
		}
	}

	/** The log keeps one message of a latest-value topic. */
	#supersede(log: Log, entry: Entry): void {
		const { topic } = entry;
		if (topic === null || !log.latest.has(topic)) return;
		const before = log.latest.get(topic);
		log.latest.set(topic, entry);
		if (before?.payload === undefined) return;
		this.#forget(before);
		log.superseded++;
		const kept = log.entries.length - log.head - log.superseded;
		if (log.superseded < 64 || log.superseded < kept) return;
		log.entries = log.entries.slice(log.head).filter(({ payload }) => payload !== undefined);
		log.head = log.superseded = 0;
	}

	#forget(entry: Entry): void {
		entry.payload = undefined;
		this.#bytes -= entry.bytes;
		this.#size--;
	}

	/** Forgets entries that are gone from their logs, once they outnumber the kept ones. */
	#compact(): void {
		if (this.#order.length < 256 || this.#order.length < this.#size * 2) return;
		this.#order = this.#order.slice(this.#oldest).filter(({ payload }) => payload !== undefined);
		this.#oldest = 0;
	}
}

/** Index of the first entry after a sequence, by binary search. */
function indexAfter({ entries, head }: Log, sequence: number): number {
	let low = head;
	let high = entries.length;
	while (low < high) {
		const middle = (low + high) >> 1;
		if (entries[middle]!.sequence > sequence) high = middle;
		else low = middle + 1;
	}
	return low;
}

/**
 * The default backend: everything is kept in the memory of this process, and nothing is shared.
 *
 * @example
 * ```ts
 * const backend = process.env.REDIS_URL ? redisBackend(createClient()) : memoryBackend();
 * ```
 */
export function memoryBackend(): RealtimeBackend {
	return { name: 'memory' };
}
