import { RealtimeError } from '../protocol/errors.js';
import type { ResyncPayload, ResyncReason } from '../protocol/health.js';
import { quoted } from '../protocol/quote.js';
import type { Positioned, RealtimeTopicEnvelope } from '../protocol/types.js';
import type { View } from './access/view.js';
import { Failure, TEXT } from './failure/failure.js';
import type { Report } from './failure/report.js';
import type { Batch } from './hub/batch.js';
import type { LogEntry } from './hub/entry.js';
import type { Hub } from './hub/hub.js';
import type { FeedSpec } from './hub/source.js';
import { Tail, type TailConsumer, type TailStart } from './hub/tail.js';
import { captureContext } from './runtime/context.js';
import { Gate } from './stream/gate.js';

/** Yielded when messages may be missing. */
export interface RealtimeResync extends ResyncPayload {
	kind: 'resync';
}

/** What `subscribe` returns. Iterate over it once; `break`, `return()` or its signal ends it. */
export interface RealtimeIterator<TItem> {
	next(): Promise<IteratorResult<TItem, undefined>>;
	return(): Promise<IteratorResult<TItem, undefined>>;
	[Symbol.asyncIterator](): this;
}

type Item = Positioned<RealtimeTopicEnvelope> | RealtimeResync;

/** A pending call of `next`. */
interface Waiter {
	resolve(result: IteratorResult<Item, undefined>): void;
	reject(error: Error): void;
}

/** Most items that wait for a slow consumer; the rest waits in the log. */
const MAX_WAITING = 1_000;

/**
 * Messages of a feed for a consumer in this process. A slow consumer continues from the replay log, and gets
 * a `resync` if the log does not reach back far enough. It ends with its consumer, with its signal, or if the
 * feed cannot come live.
 */
export class FeedIterator implements RealtimeIterator<Item>, TailConsumer {
	readonly #tail: Tail;
	readonly #gate: Gate | undefined;
	readonly #signal: AbortSignal | undefined;
	readonly #onEnd: () => void;
	readonly #items: Item[] = [];
	readonly #waiters: Waiter[] = [];
	#whenDrained: (() => void) | undefined;
	#error: Error | undefined;
	#done = false;

	constructor(
		hub: Hub,
		feed: FeedSpec,
		options: {
			topics: ReadonlySet<string>;
			report: Report;
			/** Turns each message into what the consumer sees. */
			view: View | undefined;
			signal: AbortSignal | undefined;
			/** Called once, at the end. */
			onEnd: () => void;
		}
	) {
		const { topics, report, view, signal, onEnd } = options;
		this.#signal = signal;
		this.#onEnd = onEnd;
		this.#tail = new Tail(hub, feed, { topics, report }, this);
		if (!view) return;
		const run = captureContext();
		this.#gate = new Gate((entry) => run(() => view(entry)), {
			pass: (entry) => this.#push(itemOf(entry)),
			deny: (error) => {
				this.#error = unseen(feed.channel, error, report);
				this.#finish();
			},
			held() {}
		});
	}

	/** Starts to read. This may end it at once. */
	start(start: TailStart): void {
		this.#signal?.addEventListener('abort', this.#finish);
		if (this.#signal?.aborted) this.#finish();
		else this.#tail.start(start);
	}

	[Symbol.asyncIterator](): this {
		return this;
	}

	next(): Promise<IteratorResult<Item, undefined>> {
		if (this.#error) return Promise.reject(this.#error);
		if (this.#done) return Promise.resolve({ done: true, value: undefined });
		const next = new Promise<IteratorResult<Item, undefined>>((resolve, reject) =>
			this.#waiters.push({ resolve, reject })
		);
		this.#serve();
		return next;
	}

	async return(): Promise<IteratorResult<Item, undefined>> {
		this.#finish();
		return { done: true, value: undefined };
	}

	get isFull(): boolean {
		return this.#items.length + (this.#gate?.size ?? 0) >= MAX_WAITING;
	}

	take(entry: LogEntry): void {
		if (this.#gate) this.#gate.push(entry);
		else this.#push(itemOf(entry));
	}

	takeBatch({ entries }: Batch): void {
		for (const entry of entries) {
			this.take(entry);
			if (!this.isFull) continue;
			this.#tail.pauseAfter(entry.cursor);
			break;
		}
	}

	missed(reason: ResyncReason): void {
		const { channel } = this.#tail.feed;
		const tell = (): void => this.#push({ kind: 'resync', channel, reason, ts: Date.now() });
		if (this.#gate) this.#gate.after(tell);
		else tell();
	}

	changed(): void {
		// After a loss the consumer gets a `resync`.
	}

	failed(message: string): void {
		const { channel } = this.#tail.feed;
		this.#error = new RealtimeError(
			'UPSTREAM',
			`Realtime channel ${quoted(channel)} cannot be read: ${message}`
		);
		this.#finish();
	}

	async drained(): Promise<void> {
		const gate = this.#gate;
		if (gate) await new Promise<void>((resolve) => gate.after(resolve));
		if (this.#items.length === 0) return;
		await new Promise<void>((resolve) => (this.#whenDrained = resolve));
	}

	#push(item: Item): void {
		this.#items.push(item);
		this.#serve();
	}

	#serve(): void {
		while (this.#waiters.length > 0 && this.#items.length > 0) {
			this.#waiters.shift()!.resolve({ done: false, value: this.#items.shift()! });
		}
		if (this.#items.length > 0) return;
		this.#whenDrained?.();
		this.#whenDrained = undefined;
	}

	readonly #finish = (): void => {
		if (this.#done) return;
		this.#done = true;
		this.#items.length = 0;
		this.#gate?.shut();
		this.#signal?.removeEventListener('abort', this.#finish);
		this.#tail.end();
		this.#onEnd();
		for (const { resolve, reject } of this.#waiters.splice(0)) {
			if (this.#error) reject(this.#error);
			else resolve({ done: true, value: undefined });
		}
	};
}

/** Why a reader may not see what server code reads for it. */
export function unseen(channel: string, error: unknown, report: Report): RealtimeError {
	const failure =
		error instanceof Failure
			? error
			: new Failure('reauthorization', 503, TEXT.unchecked, { cause: error });
	const text = report(failure, { channelId: channel });
	return new RealtimeError(
		failure.status < 500 ? 'DENIED' : 'HANDLER',
		`Realtime channel ${quoted(channel)} cannot be read: ${text}`,
		{ cause: failure.cause }
	);
}

function itemOf({ kind, envelope, cursor }: LogEntry): Item {
	return kind === 'resync'
		? { ...(envelope as unknown as ResyncPayload), kind }
		: { ...envelope, cursor };
}
