import { formatCursor, parseCursor } from '../protocol/cursor.js';
import { RealtimeError } from '../protocol/errors.js';
import type { Published } from '../server/backend/backend.js';
import type {
	ReplayBounds,
	ReplayedEvent,
	ReplayEvent,
	ReplayLimits,
	ReplaySlice,
	ReplayStore
} from '../server/backend/replay.js';
import type { Row } from './clients/database.js';
import { Publisher, type Publishing } from './publishing.js';
import type { Statements } from './statements.js';
import { escapeText, hash, unescapeText } from './text.js';

/** Default number of events that are read from a log. */
const PAGE_EVENTS = 1_000;

/** Most events that one statement reads, over all its logs. */
const MAX_READ_EVENTS = 5_000;

/** Most logs for which this process remembers the newest event it has delivered. */
const MAX_KNOWN = 10_000;

/** About how often, in milliseconds, one of the processes deletes old rows. */
const PRUNE_MS = 60_000;

/** How long, in milliseconds, events stay after they expire, because their keys reveal repeats. */
const GRACE_MS = 300_000;

/** How long, in milliseconds, a log is known if nobody appends to it or reads it. */
const IDLE_MS = 24 * 3_600_000;

/** The longest age that the database can compute, in milliseconds. */
const FOREVER_MS = 1_000 * 365 * 24 * 3_600_000;

/** The newest event of a log that this process has delivered, and when it came. */
interface Known {
	epoch: string;
	sequence: number;
	at: number;
}

/** The state of a log, as the function `slice` returns it. */
interface Head {
	epoch: string;
	first: number;
	last: number;
	isNew: boolean;
	more: boolean;
	/** When the last event of the slice came; if the slice is empty, the last event of the log. */
	at: number | null;
	clock: number;
}

/** The outcome for events, as the function `append` returns it. */
interface Added {
	isLate?: boolean;
	added: number;
	epoch: string;
	last: number;
	at: number | null;
	clock: number;
	/** For each event, in order: its cursor, and whether this call added it. */
	cursors: string[];
	isNew: boolean[];
}

/** A part of a log. */
interface Part {
	head: Head;
	slice: ReplaySlice;
}

/** A caller that waits for a part of a log. */
interface Reader {
	log: string;
	request: { log: string; after: unknown; limit: number; known: unknown; limits: unknown };
	resolve(part: Part): void;
	reject(error: unknown): void;
}

/** Logs in Postgres. The row of a log has its state, and is locked while events are added. */
export class PostgresReplayStore implements ReplayStore {
	readonly #statements: Statements;
	readonly #limits: Required<ReplayLimits>;
	readonly #ownLimits = new Map<string, ReplayLimits>();
	readonly #publisher: Publisher;
	readonly #known = new Map<string, Known>();
	#readers: Reader[] = [];
	#pruning: ReturnType<typeof setInterval> | undefined;

	constructor(statements: Statements, limits: Required<ReplayLimits>) {
		this.#statements = statements;
		this.#limits = limits;
		this.#publisher = new Publisher(
			(log, publishing) => this.#publish(log, publishing),
			statements.timeoutMs
		);
	}

	async append(log: string, events: readonly ReplayEvent[]): Promise<readonly string[]> {
		if (events.length === 0) return [];
		return (await this.#append(log, events.map(asSent), {})).added.cursors;
	}

	async appendAndRead(
		log: string,
		events: readonly ReplayEvent[],
		cursor: string,
		limit: number
	): Promise<ReplaySlice> {
		const { rows } = await this.#append(log, events.map(asSent), {
			after: position(cursor),
			limit
		});
		return this.#readPart(log, rows.slice(1)).slice;
	}

	/** Numbers, stores and announces one event. */
	async publish(
		log: string,
		event: ReplayEvent,
		{ keyTtlMs = null, tx }: Partial<Pick<Publishing, 'keyTtlMs'>> & { tx?: unknown } = {}
	): Promise<Published> {
		if (tx === undefined) return await this.#publisher.publish(log, event, keyTtlMs);
		const [published] = await this.#publish(log, [{ event, keyTtlMs, until: 0 }], tx);
		return published!;
	}

	async since(log: string, cursor: string, limit = PAGE_EVENTS): Promise<ReplaySlice> {
		return (await this.#read(log, position(cursor), limit)).slice;
	}

	async bounds(log: string): Promise<ReplayBounds> {
		const { epoch, first, last, isNew } = (await this.#read(log, null, 0)).head;
		return { first: formatCursor(epoch, first), last: formatCursor(epoch, last), isNew };
	}

	async clear(log: string): Promise<void> {
		const { waitMs } = this.#statements;
		await this.#statements.call('clear', { log: hash(log), limits: this.#limitsOf(log), waitMs });
	}

	limit(log: string, limits: ReplayLimits): void {
		this.#ownLimits.set(log, limits);
	}

	release(log: string): void {
		this.#ownLimits.delete(log);
		this.#known.delete(log);
	}

	/** Notes an event that is delivered to those who follow a log. */
	know(log: string, known: Known): void {
		const before = this.#known.get(log);
		if (before?.epoch === known.epoch && before.sequence >= known.sequence) return;
		this.#known.delete(log);
		this.#known.set(log, known);
		if (this.#known.size > MAX_KNOWN) this.#known.delete(this.#known.keys().next().value!);
	}

	/** Deletes old rows, unless another process is doing it. Never throws. */
	async prune({ graceMs = GRACE_MS, idleMs = IDLE_MS } = {}): Promise<void> {
		try {
			await this.#statements.call('prune', { graceMs, idleMs }, { timeoutMs: PRUNE_MS });
		} catch {
			// Reading a log leaves out old events, so deleting them can wait.
		}
	}

	/** Starts to delete old rows now and then. Idempotent. */
	startPruning(): void {
		this.#pruning ??= setInterval(
			() => void this.prune(),
			PRUNE_MS * (0.9 + Math.random() / 5)
		).unref();
	}

	close(): void {
		clearInterval(this.#pruning);
		this.#statements.close();
	}

	async #publish(
		log: string,
		publishing: readonly Publishing[],
		tx?: unknown
	): Promise<readonly Published[]> {
		const events = publishing.map(({ event, keyTtlMs }) => [
			...asSent(event),
			keyTtlMs && Math.min(keyTtlMs, FOREVER_MS)
		]);
		const forMs = Math.min(...publishing.map(({ until }) => until)) - performance.now();
		const { added } = await this.#append(log, events, { forMs }, tx);
		const seen = new Set<string>();
		return publishing.map(({ event: { key } }, index) => {
			const isDuplicate = !added.isNew[index] || seen.has(key);
			seen.add(key);
			return { cursor: added.cursors[index]!, isDuplicate };
		});
	}

	/** @param forMs How long the caller waits, in milliseconds. @default the time limit of calls */
	async #append(
		log: string,
		events: readonly unknown[],
		{ forMs, ...more }: { after?: unknown; limit?: number; forMs?: number },
		tx?: unknown
	): Promise<{ added: Added; rows: Row[] }> {
		this.startPruning();
		const request = {
			log: hash(log),
			limits: this.#limitsOf(log),
			known: this.#knownOf(log),
			...(tx === undefined && {
				deadline: this.#statements.deadline(forMs),
				waitMs: this.#statements.waitMs
			}),
			events,
			...more
		};
		const rows = await this.#statements.call('append', request, { tx });
		const added = JSON.parse(rows[0]![4]!) as Added;
		this.#statements.setClock(added.clock);
		if (added.isLate) {
			throw new RealtimeError('BACKEND', 'Postgres handled the call too late and wrote nothing.');
		}
		// Events that a transaction has added are not visible before it commits.
		if (tx === undefined && added.at !== null) {
			this.know(log, { epoch: added.epoch, sequence: added.last, at: added.at });
		}
		return { added, rows };
	}

	/** Reads logs: one statement serves all requests of one turn of the event loop. */
	#read(log: string, after: unknown, limit: number): Promise<Part> {
		this.startPruning();
		const request = {
			log: hash(log),
			limits: this.#limitsOf(log),
			known: this.#knownOf(log),
			after,
			limit
		};
		return new Promise((resolve, reject) => {
			if (this.#readers.length === 0) setImmediate(() => this.#readAll());
			this.#readers.push({ log, request, resolve, reject });
		});
	}

	#readAll(): void {
		// Use the same order everywhere: otherwise rows of new logs could deadlock.
		const readers = this.#readers.sort((a, b) => (a.request.log < b.request.log ? -1 : 1));
		this.#readers = [];
		while (readers.length > 0) {
			let events = 0;
			const end = readers.findIndex(({ request }) => (events += request.limit) > MAX_READ_EVENTS);
			void this.#readTogether(readers.splice(0, end === -1 ? readers.length : Math.max(1, end)));
		}
	}

	async #readTogether(readers: readonly Reader[]): Promise<void> {
		try {
			const rows = await this.#statements.call('read', {
				logs: readers.map(({ request }) => request),
				waitMs: this.#statements.waitMs
			});
			let begin = 0;
			for (const { log, resolve } of readers) {
				const end = rows.findIndex(([, , kind], index) => index >= begin && kind === 'head') + 1;
				resolve(this.#readPart(log, rows.slice(begin, end)));
				begin = end;
			}
		} catch (error) {
			for (const { reject } of readers) reject(error);
		}
	}

	#readPart(log: string, rows: readonly Row[]): Part {
		const [, , , missed, json] = rows.at(-1)!;
		const head = JSON.parse(json!) as Head;
		this.#statements.setClock(head.clock);
		const events = rows.slice(0, -1).map(([, sequence, kind, topic, payload]): ReplayedEvent => ({
			cursor: formatCursor(head.epoch, Number(sequence)),
			kind: kind as ReplayEvent['kind'],
			topic: topic === null ? null : unescapeText(topic!),
			payload: unescapeText(payload!)
		}));
		if (head.at !== null) {
			const sequence = rows.length > 1 ? Number(rows.at(-2)![1]) : head.last;
			this.know(log, { epoch: head.epoch, sequence, at: head.at });
		}
		return {
			head,
			slice: {
				events,
				...(missed && { missed: missed as NonNullable<ReplaySlice['missed']> }),
				...(head.more && { more: true })
			}
		};
	}

	#limitsOf(log: string): [maxEvents: number, maxAgeMs: number] {
		const { maxEvents, maxAgeMs } = { ...this.#limits, ...this.#ownLimits.get(log) };
		return [Math.min(maxEvents, Number.MAX_SAFE_INTEGER), Math.min(maxAgeMs, FOREVER_MS)];
	}

	#knownOf(log: string): unknown {
		const known = this.#known.get(log);
		return known ? [known.epoch, known.sequence, known.at] : null;
	}
}

/** @returns an event as the functions expect it. */
function asSent({ key, kind, topic, payload }: ReplayEvent): (string | null)[] {
	return [hash(key), kind, topic === null ? null : escapeText(topic), escapeText(payload)];
}

/** @returns a cursor as the functions expect it; an invalid one has no epoch. */
function position(cursor: string): [epoch: string, sequence: number] {
	const parsed = parseCursor(cursor);
	return parsed ? [parsed.epoch, parsed.sequence] : ['', 0];
}
