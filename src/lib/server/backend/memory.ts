import { formatCursor, parseCursor } from '../../protocol/cursor.js';
import type { RealtimeBackend } from './backend.js';
import type { ReplayEvent, ReplayLimits, ReplaySlice, ReplayStore } from './replay.js';

/** Bounds of the in-memory log. */
export interface ReplayOptions {
	/** Most messages kept per channel. @default 1000 */
	maxEvents?: number;
	/** Age, in milliseconds, after which a message is dropped. @default 3_600_000 */
	maxAgeMs?: number;
	/** Most bytes kept for all channels of the process; the oldest message goes first. @default 16_777_216 */
	maxBytes?: number;
	/** A clock in milliseconds, of which only differences count. @default performance.now, which nobody sets */
	now?: () => number;
}

interface Entry {
	readonly log: Log;
	readonly kind: ReplayEvent['kind'];
	readonly topic: string | null;
	/** Gone once the entry is dropped, so that what still lists it does not hold its text. */
	payload: string | undefined;
	readonly bytes: number;
	readonly atMs: number;
	readonly sequence: number;
}

/** Events of one channel: `entries[head…]`, of which the first has sequence `first + 1`. */
interface Log {
	readonly epoch: string;
	readonly maxEvents: number;
	readonly maxAgeMs: number;
	entries: Entry[];
	head: number;
	last: number;
}

/** What an entry costs besides its payload, roughly. */
const ENTRY_BYTES = 160;

/** The part of every epoch that says which process it is of. */
const PROCESS = Math.random().toString(36).slice(2, 10);

let epochs = 0;

/** The log kept in this process: a ring per channel, and one budget of bytes over all of them. */
export class MemoryReplayStore implements ReplayStore {
	readonly #maxEvents: number;
	readonly #maxAgeMs: number;
	readonly #maxBytes: number;
	readonly #now: () => number;
	readonly #logs = new Map<string, Log>();
	readonly #limits = new Map<string, ReplayLimits>();
	/** All entries, oldest first, from `#oldest` on; some were dropped by their own log already. */
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

	/** Gives a channel bounds of its own; takes effect with its next epoch. */
	limit(channel: string, limits: ReplayLimits): void {
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
		const kept = log.entries.length - log.head;
		const first = log.last - kept;
		const skip = Math.max(0, position.sequence - first);
		const start = log.head + skip;
		const events = log.entries
			.slice(start, start + limit)
			.map(({ kind, topic, payload, sequence }) => ({
				cursor: formatCursor(log.epoch, sequence),
				kind,
				topic,
				payload: payload!
			}));
		return {
			events,
			...(position.sequence < first && { missed: 'expired' as const }),
			...(start + events.length < log.entries.length && { more: true })
		};
	}

	bounds(channel: string): { first: string; last: string } {
		const log = this.#log(channel);
		this.#trim(log);
		const first = log.last - (log.entries.length - log.head);
		return { first: formatCursor(log.epoch, first), last: formatCursor(log.epoch, log.last) };
	}

	/** Ends the channel's epoch. */
	release(channel: string): void {
		this.#limits.delete(channel);
		this.clear(channel);
	}

	/** Erases a channel's log, which goes on in a new epoch. */
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
				last: 0
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
			const kept = log.entries.length - log.head;
			if (kept <= log.maxEvents && entry.atMs >= oldestMs) return;
			this.#dropFirst(log);
		}
	}

	/** Drops the oldest entry of all channels. */
	#dropOldest(): void {
		const entry = this.#order[this.#oldest++]!;
		// Entries leave their log oldest first, so one that is still there is its log's first.
		if (entry.payload !== undefined) this.#dropFirst(entry.log);
	}

	#dropFirst(log: Log): void {
		const entry = log.entries[log.head]!;
		log.head++;
		entry.payload = undefined;
		this.#bytes -= entry.bytes;
		this.#size--;
		if (log.head > 64 && log.head * 2 > log.entries.length) {
			log.entries = log.entries.slice(log.head);
			log.head = 0;
		}
	}

	/** Lets go of entries that are gone from their logs, once they outnumber the kept ones. */
	#compact(): void {
		if (this.#order.length < 256 || this.#order.length < this.#size * 2) return;
		this.#order = this.#order.slice(this.#oldest).filter(({ payload }) => payload !== undefined);
		this.#oldest = 0;
	}
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
