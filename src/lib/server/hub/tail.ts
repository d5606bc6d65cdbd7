import { Failure, TEXT } from '../failure/failure.js';
import type { Report } from '../failure/report.js';
import { whenReady } from '../runtime/thenable.js';
import type { ReplaySlice } from '../backend/replay.js';
import type { Batch } from './batch.js';
import { isAfter, type LogEntry } from './entry.js';
import type { Feed } from './feed.js';
import type { Hub } from './hub.js';
import type { LogSlice } from './log.js';
import type { FeedReader } from './readers.js';
import type { FeedSpec } from './source.js';

/** Where a reader starts; without either, with the next message. */
export interface TailStart {
	/** Cursor after which to start. */
	after?: string | undefined;
	/** Number of messages, the newest of its topics, to start with; `after` wins. */
	history?: number | undefined;
}

/** Who takes what a tail reads. */
export interface TailConsumer {
	/** Whether so much waits that the rest has to wait in the log. */
	readonly isFull: boolean;
	/** Takes one entry that was read from the log. */
	take(entry: LogEntry): void;
	/** Takes what just came. */
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

/**
 * Reads one feed for one reader: first the log from where the reader left off, then what comes. It reads
 * as fast as its consumer takes: one that stalls holds a cursor and no messages. Owned by its consumer,
 * ended by `end`.
 */
export class Tail implements FeedReader {
	readonly topics: ReadonlySet<string>;
	readonly report: Report;
	readonly feed: Feed;
	readonly #hub: Hub;
	readonly #consumer: TailConsumer;
	/** Where to start once the feed is live: before that its log has nothing to start from. */
	#waitingStart: TailStart | undefined;
	/** Entries that came while the log was being read; `null` once this reader follows the feed. */
	#overtaking: LogEntry[] | null = [];
	/** How far the log was read, as long as the feed, whose store is asynchronous, is not there yet. */
	#ahead: string | null = null;
	/** Position up to which entries are history. */
	#historyUntil: string | undefined;
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
		this.feed = hub.enter(spec);
	}

	/** Whether everything that the feed had has been taken, and what comes is taken at once. */
	get isFollowing(): boolean {
		return this.#overtaking === null;
	}

	/** Position up to which entries were taken, where that is ahead of the feed's. */
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

	/** Leaves what follows `cursor` in the log until the consumer has room. */
	pauseAfter(cursor: string): void {
		this.#read(() => this.#pause(cursor));
	}

	end(): void {
		if (this.#ended) return;
		this.#ended = true;
		this.#hub.leave(this.feed, this);
	}

	deliver(batch: Batch): void {
		if (this.#overtaking) this.#overtaking.push(...batch.entries);
		else if (this.#ahead) for (const entry of batch.entries) this.#take(entry);
		else this.#consumer.takeBatch(batch);
	}

	changed(): void {
		if (this.#ended) return;
		const start = this.#waitingStart;
		if (start && this.feed.status === 'live') {
			this.#waitingStart = undefined;
			this.#read(() => this.#begin(start));
		} else if (!this.#overtaking) this.#consumer.changed();
	}

	failed(message: string): void {
		if (this.#ended) return;
		this.end();
		this.#consumer.failed(message);
	}

	/** Reads the log. Where it answers at once this is done before anything else can happen. */
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
		if (after !== undefined) return this.#catchUp(after);
		return whenReady(
			whenReady(this.feed.log.first(), (first) => this.#findHistory(first, [], history)),
			(start) => this.#catchUp(start)
		);
	}

	/**
	 * Walks through the log to find where its last `count` messages of the reader's topics start.
	 *
	 * @param starts Cursors before each message found so far.
	 */
	#findHistory(cursor: string, starts: string[], count: number): string | Promise<string> {
		return whenReady(this.feed.log.since(cursor), ({ entries, more }) => {
			let end = cursor;
			for (const entry of entries) {
				if (entry.kind === 'message' && this.#wants(entry)) starts.push(end);
				end = entry.cursor;
			}
			const last = starts.slice(-count);
			if (more && entries.length > 0) return this.#findHistory(end, last, count);
			this.#historyUntil = end;
			return last[0] ?? end;
		});
	}

	/** Takes what followed `cursor`, page by page, and ends where the feed goes on. */
	#catchUp(cursor: string): void | Promise<void> {
		if (this.#ended) return;
		if (this.#consumer.isFull) return this.#pause(cursor);
		this.#overtaking = [];
		this.feed.attach(this);
		return whenReady(this.feed.log.since(cursor), (slice) => this.#takePage(cursor, slice));
	}

	#takePage(cursor: string, { entries, missed, more }: LogSlice): void | Promise<void> {
		if (this.#ended) return;
		// Of history there is as much as there is.
		if (missed && this.#historyUntil === undefined) this.#consumer.missed(missed);
		let position: string | null = missed ? null : cursor;
		let tookAny = false;
		for (const entry of entries) {
			if (tookAny && this.#consumer.isFull) return this.#pause(position!);
			position = entry.cursor;
			if (!this.#wants(entry)) continue;
			tookAny = true;
			this.#take(entry);
		}
		if (more && position !== null && entries.length > 0) return this.#catchUp(position);
		for (const entry of this.#overtaking ?? []) {
			if (!isAfter(entry.cursor, position)) continue;
			position = entry.cursor;
			this.#take(entry);
		}
		if (position !== null && isAfter(position, this.feed.position)) this.#ahead = position;
		// At once: what the feed delivers before would be lost with the entries that overtook.
		this.#follow();
	}

	async #pause(cursor: string): Promise<void> {
		this.feed.detach(this);
		this.#overtaking = [];
		await this.#consumer.drained();
		await this.#catchUp(cursor);
	}

	#follow(): void {
		if (this.#ended) return;
		this.#overtaking = null;
		this.#historyUntil = undefined;
		if (this.feed.status !== 'connecting') this.#consumer.changed();
	}

	#wants({ topic }: LogEntry): boolean {
		return topic === null || this.topics.has(topic);
	}

	#take(entry: LogEntry): void {
		if (!isAfter(entry.cursor, this.#ahead)) return;
		this.#ahead = null;
		if (this.#historyUntil !== undefined && !isAfter(entry.cursor, this.#historyUntil)) {
			// A gap before the reader's start concerns nobody who starts now.
			if (entry.kind === 'message') this.#consumer.take(entry.asHistory);
		} else this.#consumer.take(entry);
	}
}
