import { RealtimeError } from '../../protocol/errors.js';
import { backoffMs } from '../../protocol/backoff.js';
import { Histogram } from '../metrics/histogram.js';
import type { RealtimeMetric } from '../metrics/metric.js';
import { unref } from '../runtime/runtime.js';
import { reasonOf } from './errors.js';

/** `half-open`: one call is checking whether the backend is back. */
export type BreakerState = 'closed' | 'open' | 'half-open';

/** Failures in a row that open the breaker. */
const MAX_FAILURES = 3;

/** First and highest upper bound, in milliseconds, of the time until a call is let through again. */
const MIN_OPEN_MS = 1_000;
const MAX_OPEN_MS = 5_000;

/**
 * Guards every call to a backend: gives it a time limit, and refuses calls at once while the backend is
 * unavailable, so that they do not all wait. One per backend, for all of its parts.
 */
export class Breaker {
	readonly #name: string;
	readonly #timeoutMs: number;
	readonly #latency = new Histogram(
		'backend_duration_seconds',
		'How long calls to the backend took.',
		['backend', 'outcome']
	);
	readonly #listeners = new Set<(state: BreakerState, error: unknown) => void>();
	#state: BreakerState = 'closed';
	#failures = 0;
	/** How often it has opened since the backend last answered. */
	#openings = 0;
	/** The error of the last call. */
	#cause: unknown;
	/** By the monotonic clock of the process. */
	#retryAtMs = 0;

	/** @param timeoutMs Time limit of one call, in milliseconds. */
	constructor(name: string, timeoutMs: number) {
		this.#name = name;
		this.#timeoutMs = timeoutMs;
	}

	get state(): BreakerState {
		return this.#state;
	}

	/** Calls `listener` when the backend is lost and when it is back. @returns a function that ends it. */
	listen(listener: (state: BreakerState, error: unknown) => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	/**
	 * Calls the backend. The promise always settles in time; a later answer is ignored.
	 *
	 * @throws {RealtimeError} `BACKEND` when the backend is unavailable, fails, or does not answer in time.
	 */
	async run<T>(call: () => T | PromiseLike<T>): Promise<T> {
		const isProbe = this.#state !== 'closed';
		if (isProbe && !this.#isDue()) {
			throw this.#error('is unavailable; it will be tried again', this.#cause);
		}
		if (isProbe) {
			this.#state = 'half-open';
			// On Workers a call dies with its request, so another one tries after this time.
			this.#retryAtMs = performance.now() + 2 * this.#timeoutMs;
		}
		const startedMs = performance.now();
		try {
			const result = await this.#inTime(call);
			this.#observe('answered', startedMs);
			this.#succeeded();
			return result;
		} catch (error) {
			this.#observe('failed', startedMs);
			this.#cause = error;
			const failure = this.#error('failed or did not answer in time', error);
			this.#failed(failure, isProbe);
			throw failure;
		}
	}

	/** How long calls took. */
	readLatency(): RealtimeMetric {
		return this.#latency.read();
	}

	#observe(outcome: 'answered' | 'failed', startedMs: number): void {
		this.#latency.of(this.#name, outcome).observe((performance.now() - startedMs) / 1_000);
	}

	#isDue(): boolean {
		return performance.now() >= this.#retryAtMs;
	}

	#inTime<T>(call: () => T | PromiseLike<T>): Promise<T> {
		return new Promise<T>((resolve, reject) => {
			const timer = unref(
				setTimeout(
					() => reject(new Error(`No answer within ${this.#timeoutMs} ms.`)),
					this.#timeoutMs
				)
			);
			const settle = (settled: () => void): void => {
				clearTimeout(timer);
				settled();
			};
			// A backend may throw instead of rejecting.
			new Promise<T>((answer) => answer(call())).then(
				(value) => settle(() => resolve(value)),
				(error: unknown) => settle(() => reject(error as Error))
			);
		});
	}

	#succeeded(): void {
		this.#failures = 0;
		this.#openings = 0;
		if (this.#state !== 'closed') this.#become('closed', undefined);
	}

	#failed(error: unknown, isProbe: boolean): void {
		const isClosed = this.#state === 'closed';
		// A call that started before the breaker opened tells nothing new.
		if (isClosed ? ++this.#failures < MAX_FAILURES : !isProbe) return;
		this.#retryAtMs =
			performance.now() + MIN_OPEN_MS / 2 + backoffMs(this.#openings++, MIN_OPEN_MS, MAX_OPEN_MS);
		if (isClosed) this.#become('open', error);
		else this.#state = 'open';
	}

	#become(state: BreakerState, error: unknown): void {
		this.#state = state;
		for (const listener of [...this.#listeners]) listener(state, error);
	}

	#error(what: string, cause: unknown): RealtimeError {
		const text = `The backend "${this.#name}" ${what}.${reasonOf(cause)}`;
		return new RealtimeError('BACKEND', text, { cause });
	}
}
