import { jitterMs } from './backoff.js';
import { encodeComment, encodeRetry } from '../protocol/frame.js';
import { KEEPALIVE_MS } from '../protocol/constants.js';
import { joinBytes } from './feed.js';
import type { Subscription } from './subscription.js';
import type { Wheel, WheelEntry } from './wheel.js';

/** How the connections of an endpoint are served. */
export interface ConnectionSettings {
	readonly wheel: Wheel;
	/** Milliseconds between two health ticks of each channel; `false` for none. */
	readonly intervalMs: number | false;
	/** Most bytes that may wait for a reader. */
	readonly maxBufferedBytes: number;
	/** Life of a response in milliseconds; `false` for no limit. */
	readonly maxLifetimeMs: number | false;
	/** Milliseconds between two checks of a channel's right to be read; `false` for none. */
	readonly recheckMs: number | false;
	/** Delay after which a plain `EventSource` reconnects, in milliseconds. */
	readonly retryMs: number;
	/** The body is read for the first time; nothing was taken before. */
	started(connection: Connection): void;
	/** A connection that had started has ended. */
	ended(connection: Connection): void;
	/** A chunk was given to a reader. */
	delivered(): void;
	/** A reader that did not keep up was closed. */
	slow(connection: Connection): void;
}

/** One request, as its connection sees it. */
export interface ConnectionRequest {
	/** Whether it named one channel, whose cursor then rides on health events too. */
	readonly isSingle: boolean;
	/** Whether it came from a plain `EventSource`. */
	readonly isPlain: boolean;
	/** Counts against the streams of this key. */
	readonly key: string | undefined;
	/** Destroys the socket under the response, where the platform shows it. */
	readonly destroySocket: (() => void) | undefined;
	/** Starts its channels. */
	open: ((connection: Connection) => void) | undefined;
}

const KEEPALIVE = encodeComment('');

/** Most bytes that are joined into one chunk. */
const CHUNK_BYTES = 256 * 1024;

/**
 * One SSE response: what waits for its reader, bounded in bytes, and the clock of its heartbeats. A
 * reader that stalls is closed and comes back with its cursors; it never delays another. Owned by
 * the response's reader, ended by either side.
 */
export class Connection implements WheelEntry {
	readonly request: ConnectionRequest;
	dueStep: number | undefined;
	readonly #settings: ConnectionSettings;
	readonly #subscriptions = new Set<Subscription>();
	#controller: ReadableStreamDefaultController<Uint8Array> | undefined;
	#queue: Uint8Array[] = [];
	#bytes = 0;
	#heldBytes = 0;
	/** The reader waits for a chunk. */
	#wanted = false;
	#started = false;
	#ended = false;
	/** Channels that are still being authorized. */
	#expected = 0;
	#nextTickMs = Infinity;
	#nextRecheckMs = Infinity;
	#endMs = Infinity;
	#whenDrained: (() => void)[] = [];

	constructor(settings: ConnectionSettings, request: ConnectionRequest) {
		this.#settings = settings;
		this.request = request;
	}

	get intervalMs(): number | false {
		return this.#settings.intervalMs;
	}

	get ended(): boolean {
		return this.#ended;
	}

	/** The response's body. Nothing is held before it is read. */
	body(): ReadableStream<Uint8Array> {
		return new ReadableStream<Uint8Array>(
			{
				start: (controller) => void (this.#controller = controller),
				pull: () => this.#pull(),
				cancel: () => this.#finish()
			},
			{ highWaterMark: 0 }
		);
	}

	/** Announces channels to come, so that the stream does not end before they are there. */
	expect(count: number): void {
		this.#expected += count;
	}

	/** One of the expected channels is there. */
	add(subscription: Subscription): void {
		this.#expected--;
		this.#subscriptions.add(subscription);
	}

	/** One of the expected channels will not come: `frame` says why. */
	refuse(frame: Uint8Array): void {
		this.#expected--;
		this.push(frame);
		this.#endIfEmpty();
	}

	/** A channel has ended; the stream ends with its last one. */
	remove(subscription: Subscription): void {
		this.#subscriptions.delete(subscription);
		this.#endIfEmpty();
	}

	push(chunk: Uint8Array): void {
		if (this.#ended) return;
		this.#settings.delivered();
		if (this.#wanted && this.#queue.length === 0) {
			this.#wanted = false;
			this.#controller!.enqueue(chunk);
			return;
		}
		this.#queue.push(chunk);
		this.#bytes += chunk.length;
		this.#checkBudget();
	}

	/** Counts bytes that wait elsewhere for this reader. */
	hold(bytes: number): void {
		this.#heldBytes += bytes;
		if (bytes > 0) this.#checkBudget();
	}

	/** Writes something that no reader sees but every proxy does. */
	keepAlive(): void {
		this.push(KEEPALIVE);
	}

	/** Resolves when the reader has taken everything and asks for more, or is gone. */
	drained(): Promise<void> {
		if (this.#ended || (this.#wanted && this.#queue.length === 0)) return Promise.resolve();
		return new Promise((resolve) => this.#whenDrained.push(resolve));
	}

	/** Ends the stream without a last word: the reader comes back at once. What waits is still read. */
	end(): void {
		if (this.#ended) return;
		while (this.#queue.length > 0) this.#controller?.enqueue(this.#takeQueue());
		this.#controller?.close();
		this.#finish();
	}

	wake(nowMs: number): void {
		if (nowMs >= this.#endMs) return this.end();
		if (nowMs >= this.#nextRecheckMs) {
			this.#nextRecheckMs = nowMs + jitterMs(this.#settings.recheckMs as number);
			for (const subscription of this.#subscriptions) this.#recheck(subscription);
		}
		if (nowMs >= this.#nextTickMs) {
			this.#nextTickMs = nowMs + jitterMs(this.#tickMs);
			if (this.intervalMs === false) this.keepAlive();
			else for (const subscription of [...this.#subscriptions]) subscription.tick(nowMs);
		}
		if (!this.#ended) this.#sleep(nowMs);
	}

	get #tickMs(): number {
		return this.intervalMs === false ? KEEPALIVE_MS : this.intervalMs;
	}

	#pull(): void {
		this.#wanted = true;
		if (!this.#started) {
			this.#started = true;
			this.#start();
		} else if (this.#queue.length > 0) {
			this.#wanted = false;
			this.#controller!.enqueue(this.#takeQueue());
		} else {
			for (const resolve of this.#whenDrained.splice(0)) resolve();
		}
	}

	#start(): void {
		const { maxLifetimeMs, recheckMs, retryMs } = this.#settings;
		const nowMs = Date.now();
		this.#nextTickMs = nowMs + jitterMs(this.#tickMs);
		if (recheckMs !== false) this.#nextRecheckMs = nowMs + jitterMs(recheckMs);
		if (maxLifetimeMs !== false) this.#endMs = nowMs + jitterMs(maxLifetimeMs);
		this.#sleep(nowMs);
		if (this.request.isPlain) this.push(encodeRetry(retryMs));
		this.#settings.started(this);
		const { open } = this.request;
		// What a request brought is not held for the life of its stream.
		this.request.open = undefined;
		open?.(this);
	}

	#sleep(nowMs: number): void {
		const next = Math.min(this.#nextTickMs, this.#nextRecheckMs, this.#endMs);
		this.#settings.wheel.add(this, Math.max(0, next - nowMs));
	}

	#recheck(subscription: Subscription): void {
		subscription.recheck?.().catch((error) => subscription.fail(error));
	}

	/** Joins what waits, up to a limit, into one chunk. */
	#takeQueue(): Uint8Array {
		let bytes = 0;
		let count = 0;
		while (count < this.#queue.length && (count === 0 || bytes < CHUNK_BYTES)) {
			bytes += this.#queue[count++]!.length;
		}
		this.#bytes -= bytes;
		return joinBytes(this.#queue.splice(0, count));
	}

	#checkBudget(): void {
		if (this.#ended || this.#bytes + this.#heldBytes <= this.#settings.maxBufferedBytes) return;
		this.#settings.slow(this);
		const { destroySocket } = this.request;
		const controller = this.#controller;
		this.#finish();
		controller?.error(new Error('The reader of this stream did not keep up; it can resume.'));
		// A server that waits for a stalled socket to drain learns of nothing else.
		destroySocket?.();
	}

	#endIfEmpty(): void {
		if (this.#expected === 0 && this.#subscriptions.size === 0) this.end();
	}

	/** Lets go of everything; idempotent. */
	#finish(): void {
		if (this.#ended) return;
		this.#ended = true;
		this.#queue = [];
		this.#bytes = 0;
		this.#settings.wheel.delete(this);
		for (const subscription of this.#subscriptions) subscription.end();
		this.#subscriptions.clear();
		for (const resolve of this.#whenDrained.splice(0)) resolve();
		if (this.#started) this.#settings.ended(this);
	}
}
