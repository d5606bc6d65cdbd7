import { compareCursors, formatCursor, parseCursor } from '../../protocol/cursor.js';
import { Failure, TEXT } from '../failure/failure.js';
import type { Report } from '../failure/report.js';
import { afterInput } from '../runtime/runtime.js';
import { whenReady } from '../runtime/thenable.js';
import type { ReplaySlice } from '../backend/replay.js';
import type { Batch } from './batch.js';
import { isAfter, type LogEntry } from './entry.js';
import type { Feed } from './feed.js';
import type { Hub } from './hub.js';
import { isOfOtherLog, type LogSlice } from './log.js';
import type { FeedReader } from './readers.js';
import type { FeedSpec } from './source.js';

/** Entries of the first page that is read from the log; how many follow depends on the consumer. */
const FIRST_PAGE = 100;

/** Most entries of one page. */
const MAX_PAGE = 1_000;

/** Most live entries kept while the log is being read; later ones are read from the log as well. */
const MAX_OVERTAKING = 1_000;

/** Where a reader starts; without either, with the next message. */
export interface TailStart {
	/** Cursor after which to start. */
	after?: string | undefined;
	/** Number of recent messages of its topics to start with; `after` wins. */
	history?: number | undefined;
}

/** The consumer of a tail. */
export interface TailConsumer {
	/** Whether so much is waiting that the rest has to wait in the log. */
	readonly isFull: boolean;
	/** Takes one entry that was read from the log. */
	take(entry: LogEntry): void;
	/** Takes live entries. */
	takeBatch(batch: Batch): void;
	/** Messages are missing before what comes next. */
	missed(reason: NonNullable<ReplaySlice['missed']>): void;
	/** The feed's status changed, or the tail has caught up with it. */
	changed(): void;
	/** The feed cannot be read; the tail has ended. */
	failed(message: string): void;
	/** Resolves when there may be room again. */
	drained(): Promise<void>;
}

/** Live entries that arrive while the log is being read. */
interface Reading {
	readonly overtaking: LogEntry[];
	/** Whether more arrived than are kept. */
	isCut: boolean;
}

/** The part of the log that a reader takes as history. */
interface History {
	/** Cursor of its last entry. */
	readonly until: string;
	/** Whether the reader has received any of it. */
	began: boolean;
}

/**
 * Reads one feed for one reader: first the log, from where the reader left off, then what arrives live.
 * It reads only as fast as its consumer takes: a stalled consumer costs a cursor, not buffered messages.
 * Owned by its consumer, ended by `end`.
 */
export class Tail implements FeedReader {
	readonly topics: ReadonlySet<string>;
	readonly report: Report;
	readonly feed: Feed;
	readonly #hub: Hub;
	readonly #consumer: TailConsumer;
	/** Topics of which only the newest message matters. */
	readonly #latest: ReadonlySet<string>;
	/** Where to start once the feed is live. Before that, its log has no position to start from. */
	#waitingStart: TailStart | undefined;
	/** `null` while this reader follows the feed. */
	#reading: Reading | null = { overtaking: [], isCut: false };
	/** How far the log was read, until the feed gets there, too: its store is asynchronous. */
	#ahead: string | null = null;
	/** Era of the log in which the reader started, if it started with messages of the log. */
	#era: number | undefined;
	#history: History | undefined;
	#pageSize = FIRST_PAGE;
	#ended = false;

	constructor(
		hub: Hub,
		spec: FeedSpec,
		reader: { topics: ReadonlySet<string>; report: Report },
		consumer: TailConsumer
	) {
		this.topics = reader.topics;
		this.report = reader.report;
		this.#hub = hub;
		this.#consumer = consumer;
		this.#latest = new Set(spec.latest);
		this.feed = hub.enter(spec);
	}

	/** Whether a reader that is behind may skip messages. */
	get canSkip(): boolean {
		return this.#latest.size > 0;
	}

	/** Whether the reader has taken everything that the feed had, and gets new entries at once. */
	get isFollowing(): boolean {
		return this.#reading === null;
	}

	/** Position of the last entry taken, if it is ahead of the feed's. */
	get ahead(): string | null {
		return this.#ahead;
	}

	start(start: TailStart): void {
		if (start.after === undefined && !start.history) {
			this.feed.attach(this);
			this.#follow();
		} else if (this.feed.wasLive) this.#read(() => this.#begin(start));
		else {
			this.#waitingStart = start;
			this.feed.attach(this);
		}
	}

	/** Stops following the feed after `cursor`; continues from the log when the consumer has room. */
	pauseAfter(cursor: string): void {
		this.feed.detach(this);
		this.#reading = { overtaking: [], isCut: false };
		const goOn = (): void => this.#read(() => this.#catchUp(cursor));
		// Other work can run between two pages.
		void this.#consumer.drained().then(() => afterInput(goOn));
	}

	end(): void {
		if (this.#ended) return;
		this.#ended = true;
		this.#hub.leave(this.feed, this);
	}

	deliver(batch: Batch): void {
		if (this.#reading) keep(this.#reading, batch.entries);
		else if (this.#ahead || batch.hasRepeats) for (const entry of batch.entries) this.#take(entry);
		else this.#consumer.takeBatch(batch);
	}

	changed(): void {
		if (this.#ended) return;
		const start = this.#waitingStart;
		if (start && this.feed.status === 'live') {
			this.#waitingStart = undefined;
			this.#read(() => this.#begin(start));
		} else if (!this.#reading) this.#consumer.changed();
	}

	failed(message: string): void {
		if (this.#ended) return;
		this.end();
		this.#consumer.failed(message);
	}

	/** Reads the log. If the log answers at once, this is done before anything else can happen. */
	#read(read: () => void | Promise<void>): void {
		const fail = (cause: unknown): void => {
			if (this.#ended) return;
			const failure = new Failure('stream', 503, TEXT.store, { cause });
			this.failed(this.report(failure, { channelId: this.feed.channel }));
		};
		try {
			void whenReady(read(), () => {}, fail);
		} catch (error) {
			fail(error);
		}
	}

	#begin({ after, history = 0 }: TailStart): void | Promise<void> {
		this.#era = this.feed.log.era;
		if (after !== undefined) return this.#catchUp(after);
		return this.#findHistory(history).then((start) => this.#catchUp(start));
	}

	/** @returns the cursor before the last `count` messages of the reader's topics. */
	async #findHistory(count: number): Promise<string> {
		const { first, last } = await this.feed.log.bounds();
		this.#history = { until: last, began: false };
		const { epoch, sequence: end } = parseCursor(last)!;
		const { sequence: oldest } = parseCursor(first)!;
		// Go further and further back, because there may be messages of other topics in between.
		for (let reach = count; ; reach *= 4) {
			const from = Math.max(oldest, end - reach);
			const starts = await this.#findMessages(formatCursor(epoch, from), last);
			const start = starts.at(-count);
			if (start !== undefined) return start;
			if (from === oldest || this.#ended) return starts[0] ?? last;
		}
	}

	/** @returns the cursors before each message of the reader's topics between two positions. */
	async #findMessages(from: string, until: string): Promise<string[]> {
		const starts: string[] = [];
		for (let position = from; !this.#ended;) {
			const { entries, more } = await this.feed.log.since(position, MAX_PAGE);
			for (const entry of entries) {
				if (isAfter(entry.cursor, until)) return starts;
				if (entry.kind === 'message' && this.#wants(entry)) starts.push(position);
				position = entry.cursor;
			}
			if (!more || entries.length === 0) break;
		}
		return starts;
	}

	/** Takes entries after `cursor`, page by page, until it can follow the feed. */
	#catchUp(cursor: string): void | Promise<void> {
		if (this.#ended) return;
		if (this.#consumer.isFull) return this.pauseAfter(cursor);
		this.#reading = { overtaking: [], isCut: false };
		this.feed.attach(this);
		return whenReady(this.feed.log.since(cursor, this.#pageSize), (slice) =>
			this.#takePage(cursor, slice)
		);
	}

	/** Entries of a page, without those of latest-value topics that a newer one in the page replaces. */
	#withoutSuperseded(entries: readonly LogEntry[]): readonly LogEntry[] {
		if (!this.canSkip) return entries;
		const newest = new Map(entries.map((entry) => [entry.topic, entry]));
		return entries.filter(
			(entry) =>
				entry.topic === null || !this.#latest.has(entry.topic) || newest.get(entry.topic) === entry
		);
	}

	#takePage(cursor: string, slice: LogSlice): void {
		const reading = this.#reading;
		if (this.#ended || !reading) return;
		const { missed, more } = slice;
		if (isOfOtherLog(slice)) this.#era = undefined;
		const entries = this.#withoutSuperseded(slice.entries);
		if (missed && !this.#isOnlyHistory(entries[0])) this.#consumer.missed(missed);
		let position: string | null = missed ? (slice.position ?? null) : cursor;
		let taken = 0;
		const takeAll = (all: readonly LogEntry[]): boolean => {
			for (const [index, entry] of all.entries()) {
				if (!isAfter(entry.cursor, position)) continue;
				if (taken > 0 && this.#consumer.isFull) {
					// The rest of this page will be read again, so the next one should be small.
					if (all === entries) this.#pageSize = Math.min(MAX_PAGE, 2 * index);
					return false;
				}
				position = entry.cursor;
				if (!this.#wants(entry)) continue;
				taken++;
				this.#take(entry);
			}
			return true;
		};
		if (!takeAll(entries)) return this.pauseAfter(position!);
		this.#pageSize = Math.min(MAX_PAGE, 2 * this.#pageSize);
		if (more && position !== null && entries.length > 0) return this.pauseAfter(position);
		if (!takeAll(reading.overtaking) || reading.isCut) return this.pauseAfter(position!);
		if (position !== null && isAfter(position, this.feed.position)) this.#ahead = position;
		// Do this at once: anything the feed delivers before would be lost with the dropped entries.
		this.#follow();
	}

	#follow(): void {
		if (this.#ended) return;
		this.#reading = null;
		this.#history = undefined;
		if (this.feed.status !== 'connecting') this.#consumer.changed();
	}

	/**
	 * Whether what the log has lost before its first entry is history that the reader has not started to read.
	 */
	#isOnlyHistory(first: LogEntry | undefined): boolean {
		const history = this.#history;
		if (!history || history.began || !first) return false;
		const distance = compareCursors(first.cursor, history.until);
		return distance !== null && distance <= 1;
	}

	#wants({ topic }: LogEntry): boolean {
		return topic === null || this.topics.has(topic);
	}

	#take(entry: LogEntry): void {
		if (!isAfter(entry.cursor, this.#ahead)) return;
		// A reader that was already following the log received it then.
		if (entry.heardBefore > 0 && entry.heardBefore !== this.#era) return;
		this.#ahead = null;
		const history = this.#history;
		if (!history || isAfter(entry.cursor, history.until)) return this.#consumer.take(entry);
		if (entry.kind === 'message') {
			history.began = true;
			this.#consumer.take(entry.asHistory);
		} else if (history.began) {
			// A gap before the first message does not matter to a reader that starts with that message.
			this.#consumer.take(entry);
		}
	}
}

/** The first batch is kept whatever its size, so that there is a position to continue from. */
function keep(reading: Reading, entries: readonly LogEntry[]): void {
	const { overtaking } = reading;
	if (overtaking.length > 0 && overtaking.length + entries.length > MAX_OVERTAKING) {
		reading.isCut = true;
	}
	if (!reading.isCut) for (const entry of entries) overtaking.push(entry);
}
