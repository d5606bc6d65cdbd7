import type { RealtimeReconnectOptions } from './types.js';

/**
 * Delays between attempts: a random part of a ceiling that doubles with each failure, so that the
 * clients of a server that went down do not return in one wave.
 */
export class Backoff {
	#failures = 0;
	/** The server's `retry:`, in milliseconds. */
	retryMs: number | undefined;

	/** @returns milliseconds to wait after one more failure. */
	next({ minDelayMs = 500, maxDelayMs = 30_000 }: RealtimeReconnectOptions): number {
		const ceiling = (this.retryMs ?? minDelayMs) * 2 ** this.#failures++;
		return Math.random() * Math.min(maxDelayMs, ceiling);
	}

	/** Starts anew with the shortest delay. */
	reset(): void {
		this.#failures = 0;
	}
}
