import type { RealtimeReconnectOptions } from './types.js';

/**
 * Delays between attempts: a random part of a ceiling that doubles with each failure, so that the
 * clients of a server that went down do not return in one wave.
 */
export class Backoff {
	#failures = 0;
	#options: RealtimeReconnectOptions = {};
	/** The server's `retry:`, in milliseconds. */
	retryMs: number | undefined;

	set options(options: RealtimeReconnectOptions) {
		this.#options = options;
	}

	/** Milliseconds that a stream has to live for the delays to start anew. */
	get stableMs(): number {
		return this.#options.stableMs ?? 60_000;
	}

	/** @returns milliseconds to wait after one more failure. */
	next(): number {
		const { minDelayMs = 500, maxDelayMs = 30_000 } = this.#options;
		const ceiling = Math.min(maxDelayMs, (this.retryMs ?? minDelayMs) * 2 ** this.#failures++);
		return Math.round(Math.random() * ceiling);
	}

	reset(): void {
		this.#failures = 0;
	}
}
