import { RealtimeError } from '../../protocol/errors.js';
import { backoffMs } from '../../protocol/backoff.js';
import { Histogram } from '../metrics/histogram.js';
import type { RealtimeMetric } from '../metrics/metric.js';
import { unref } from '../runtime/runtime.js';
import { reasonOf } from './errors.js';

/** `half-open`: one call is on its way to find out whether the backend is back. */
export type BreakerState = 'closed' | 'open' | 'half-open';

/** Failures in a row that open the breaker. */
const MAX_FAILURES = 3;

/** First and longest ceiling, in milliseconds, of the time until a call is let through again. */
const MIN_OPEN_MS = 1_000;
const MAX_OPEN_MS = 5_000;

/**
 * Stands before every call to a backend: gives it a time limit, and while the backend is away refuses
 * calls at once instead of letting each of them wait. One per backend, for all of its parts.
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
	/** How often it opened since the backend last answered. */
	#openings = 0;
	/** What the last call failed with. */
	#cause: unknown;
	/** By the process's own clock, which nobody sets. */
	#retryAtMs = 0;

	/** @param timeoutMs How long, in milliseconds, one call may take. */
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
	 * Calls the backend. The promise always settles in time; what comes later is of no use.
	 *
	 * @throws {RealtimeError} `BACKEND` when the backend is away, fails, or does not answer in time.
	 */
	async run<T>(call: () => T | PromiseLike<T>): Promise<T> {
		const isProbe = this.#state !== 'closed';
		if (isProbe && !this.#isDue()) {
			throw this.#error('is away; it will be tried again', this.#cause);
		}
		if (isProbe) {
			this.#state = 'half-open';
			// A request that ends on Workers takes its calls with it: another one tries after this time.
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
		// A call from before the breaker opened says nothing new.
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
