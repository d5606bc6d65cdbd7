import { RealtimeError } from '../protocol/errors.js';
import type { ResyncPayload } from '../protocol/health.js';
import type { Positioned, RealtimeTopicEnvelope } from '../protocol/types.js';
import { TEXT, type Report } from './failure.js';
import type { Batch, FeedReader } from './feed.js';
import type { FeedSource, Hub } from './hub.js';
import { isAfter, type LogEntry } from './log.js';

/** What an iteration yields where messages may be missing. */
export interface RealtimeResync extends ResyncPayload {
	kind: 'resync';
}

/** What `subscribe` returns: to be iterated over once, ended by `break`, `return()` or its signal. */
export interface RealtimeIterator<TItem> {
	next(): Promise<IteratorResult<TItem, undefined>>;
	return(): Promise<IteratorResult<TItem, undefined>>;
	[Symbol.asyncIterator](): this;
}

/** Entries that wait for a slow consumer; past that it goes on from the replay log. */
const MAX_WAITING = 1_000;

/**
 * Messages of a feed for a consumer in this process. One that is slow is not buffered for without
 * end: past `MAX_WAITING` entries it goes on from the replay log, and a `resync` says so where that
 * does not reach back far enough. Ended by its consumer, its signal, or a feed that cannot come live.
 */
export class FeedIterator implements FeedReader, RealtimeIterator<Item> {
	readonly topics: ReadonlySet<string>;
	readonly report: Report;
	readonly #hub: Hub;
	readonly #feed: ReturnType<Hub['enter']>;
	readonly #signal: AbortSignal | undefined;
	readonly #onEnd: () => void;
	#waiting: LogEntry[] = [];
	/** Position to read the log from: what came since was not kept, or not yet read. */
	#behindAt: string | undefined;
	#position: string | undefined;
	/** How far the log was read, as long as the feed, whose store is asynchronous, is not there yet. */
	#ahead: string | null = null;
	#missed: ResyncPayload['reason'] | undefined;
	#wake: (() => void) | undefined;
	#error: Error | undefined;
	#done = false;

	constructor(
		hub: Hub,
		source: FeedSource,
		options: {
			topics: ReadonlySet<string>;
			report: Report;
			lastEventId: string | undefined;
			signal: AbortSignal | undefined;
			/** Called once, at the end. */
			onEnd: () => void;
		}
	) {
		this.topics = options.topics;
		this.report = options.report;
		this.#hub = hub;
		this.#signal = options.signal;
		this.#onEnd = options.onEnd;
		this.#behindAt = this.#position = options.lastEventId;
		this.#feed = hub.enter(source);
		this.#feed.attach(this);
		this.changed();
		options.signal?.addEventListener('abort', this.#finish);
	}

	[Symbol.asyncIterator](): this {
		return this;
	}

	async next(): Promise<IteratorResult<Item, undefined>> {
		for (;;) {
			if (this.#error) throw this.#error;
			if (this.#signal?.aborted) this.#finish();
			if (this.#done) return { done: true, value: undefined };
			if (this.#feed.wasLive) {
				if (this.#behindAt !== undefined) {
					await this.#readLog(this.#behindAt);
					continue;
				}
				const item = this.#take();
				if (item) return { done: false, value: item };
			}
			await new Promise<void>((wake) => (this.#wake = wake));
		}
	}

	async return(): Promise<IteratorResult<Item, undefined>> {
		this.#finish();
		return { done: true, value: undefined };
	}

	deliver({ entries }: Batch): void {
		for (const entry of entries) {
			if (!isAfter(entry.cursor, this.#ahead)) continue;
			this.#ahead = null;
			this.#waiting.push(entry);
		}
		if (this.#waiting.length > MAX_WAITING) {
			// The log has them too, as far as it reaches back.
			this.#behindAt ??= this.#position ?? '';
			this.#waiting = [];
		}
		this.#wake?.();
	}

	changed(): void {
		if (this.#feed.status === 'live') this.#position ??= this.#feed.log.cursor ?? undefined;
		this.#wake?.();
	}

	failed(message: string): void {
		this.#error = new RealtimeError(
			'UPSTREAM',
			`Realtime channel "${this.#feed.channel}" cannot be read: ${message}`
		);
		this.#finish();
	}

	async #readLog(position: string): Promise<void> {
		// What comes while the log is read is kept; what came before is in the log.
		this.#feed.flush();
		this.#waiting = [];
		this.#behindAt = undefined;
		try {
			const { entries, missed } = await this.#feed.log.since(position);
			if (this.#done) return;
			const wanted = entries.filter(({ topic }) => topic === null || this.topics.has(topic));
			let last = entries.at(-1)?.cursor ?? (missed ? null : position);
			for (const entry of this.#waiting) {
				if (!isAfter(entry.cursor, last)) continue;
				last = entry.cursor;
				wanted.push(entry);
			}
			this.#waiting = wanted;
			this.#missed = missed;
			if (last !== null && isAfter(last, this.#feed.position)) this.#ahead = last;
		} catch (error) {
			const { channel: channelId } = this.#feed;
			this.failed(
				this.report({ stage: 'stream', status: 503, message: TEXT.store, channelId, error })
			);
		}
	}

	#take(): Item | undefined {
		if (this.#missed) {
			const reason = this.#missed;
			this.#missed = undefined;
			return { kind: 'resync', channel: this.#feed.channel, reason, ts: Date.now() };
		}
		const entry = this.#waiting.shift();
		if (!entry) return undefined;
		this.#position = entry.cursor;
		return entry.topic === null
			? { ...(entry.envelope as unknown as ResyncPayload), kind: 'resync' }
			: { ...entry.envelope, cursor: entry.cursor };
	}

	readonly #finish = (): void => {
		if (this.#done) return;
		this.#done = true;
		this.#waiting = [];
		this.#signal?.removeEventListener('abort', this.#finish);
		this.#hub.leave(this.#feed, this);
		this.#onEnd();
		this.#wake?.();
	};
}

type Item = Positioned<RealtimeTopicEnvelope> | RealtimeResync;
