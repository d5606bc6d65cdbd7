import { backoffMs } from '../../protocol/backoff.js';
import type { RealtimeReconnectOptions } from '../types.js';
import type { Stream } from './stream.js';

/** The longest wait, in milliseconds, after a failure once the subscriptions have changed. */
const CHANGE_MS = 1_000;
/** Requests that follow a change, or `reset`, are at least this far apart, in milliseconds. */
const COALESCE_MS = 250;
/** A stream that lived this long, in milliseconds, counts as useful. */
const USEFUL_MS = 5_000;
/** How many short streams in a row may be reopened at once, if each delivered a message. */
const SHORT_STREAMS = 5;

/**
 * Decides when the next request may start. Remembers failures since a stream was last stable, the server's
 * `retry:` and `Retry-After`, and streams that the server ended early. All times are from the page's
 * monotonic clock.
 */
export class RetryPolicy {
	/** The delays that the app configured. */
	delays: RealtimeReconnectOptions = {};
	/** The server's `retry:`, in milliseconds. */
	retryMs: number | undefined;
	#failures = 0;
	/** Streams in a row that the server ended soon. */
	#shortStreams = 0;
	/** When something last failed or ended. */
	#failedAt = -Infinity;
	/** When to try again. */
	#retryAt = 0;
	/** Time that the server asked for with `Retry-After`; nothing may try before. */
	#notBefore = 0;
	#startedAt = -Infinity;
	#resetAt = -Infinity;

	/** Milliseconds until the next request may start; zero or less when it may start now. */
	get remainingMs(): number {
		return Math.max(this.#retryAt, this.#notBefore) - performance.now();
	}

	/** A stream, or a channel of it, failed. */
	failed(stream: Stream, retryAfterMs = 0): void {
		this.#notBefore = Math.max(this.#notBefore, performance.now() + retryAfterMs);
		this.#wait(this.#delay(stream));
	}

	/**
	 * The server finished a stream: because of its age, or for a deploy. A few short ones in a row are reopened
	 * at once; only one, if it delivered nothing.
	 */
	ended(stream: Stream): void {
		const livedMs = performance.now() - stream.openedAt;
		this.#shortStreams = livedMs < USEFUL_MS ? this.#shortStreams + 1 : 0;
		const allowed = stream.productive && livedMs >= COALESCE_MS ? SHORT_STREAMS : 1;
		this.#wait(this.#shortStreams > allowed ? this.#delay(stream) : 0);
	}

	/** A request starts. */
	started(): void {
		this.#startedAt = performance.now();
	}

	/** The wanted channels changed: wait less, but do not send a request for each change. */
	shorten(): void {
		this.#retryAt = Math.max(
			Math.min(this.#retryAt, this.#failedAt + CHANGE_MS),
			this.#startedAt + COALESCE_MS
		);
	}

	/** The network or the page is back: do not wait, unless the server asked for it. */
	skip(): void {
		this.#retryAt = 0;
	}

	/** Forgets all failures. The next request may start now, but not in a loop. */
	reset(): void {
		this.#failures = this.#notBefore = 0;
		this.#retryAt = this.#resetAt + COALESCE_MS;
		this.#resetAt = performance.now();
	}

	#wait(ms: number): void {
		this.#failedAt = performance.now();
		this.#retryAt = this.#failedAt + ms;
	}

	#delay(stream: Stream): number {
		const { minDelayMs = 500, maxDelayMs = 30_000, stableMs = 60_000 } = this.delays;
		if (performance.now() - stream.openedAt >= stableMs) this.#failures = 0;
		return backoffMs(this.#failures++, this.retryMs ?? minDelayMs, maxDelayMs);
	}
}
