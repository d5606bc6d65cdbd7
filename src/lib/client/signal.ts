import { createSubscriber } from 'svelte/reactivity';
import { throttle } from './schedule.js';

/**
 * A thing that changes outside Svelte. Its listeners hear of every change at once; effects and
 * templates that called `track` while they ran run again, at most once per frame.
 */
export class Signal<T = void> {
	readonly #listeners = new Set<(value: T) => void>();
	readonly #onError: (error: unknown) => void;
	/** Makes the effect that runs now depend on this. */
	readonly track: () => void;

	/**
	 * @param onError Told what a listener threw; the others are called all the same.
	 * @param intervalMs Least milliseconds between two runs of an effect; `undefined` is one frame.
	 */
	constructor(onError: (error: unknown) => void, intervalMs: () => number | undefined) {
		this.#onError = onError;
		this.track = createSubscriber((update) => {
			const ask = throttle(update, intervalMs);
			const stop = this.listen(ask);
			return () => {
				stop();
				ask.cancel();
			};
		});
	}

	/** Calls `listener`, a function of its own, with every change until the returned one is called. */
	listen(listener: (value: T) => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	emit(value: T): void {
		for (const listener of [...this.#listeners]) {
			try {
				listener(value);
			} catch (error) {
				this.#onError(error);
			}
		}
	}
}
