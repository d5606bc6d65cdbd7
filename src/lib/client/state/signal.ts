import { createSubscriber } from 'svelte/reactivity';
import { wait } from './schedule.js';

/**
 * Something that changes outside Svelte. Its listeners are called for every change at once. Effects and
 * templates that called `track` run again: at once after the first change, then at most once per frame of the
 * screen.
 */
export class Signal<T = void> {
	readonly #listeners = new Set<(value: T) => void>();
	readonly #onError: (error: unknown) => void;
	/** Makes the current effect depend on this. */
	readonly track: () => void;

	/**
	 * @param onError Called with the error of a listener; the other listeners are called anyway.
	 * @param intervalMs Minimum time, in milliseconds, between two runs of an effect; `undefined` is one frame.
	 */
	constructor(onError: (error: unknown) => void, intervalMs: () => number | undefined) {
		this.#onError = onError;
		this.track = createSubscriber((update) => {
			let endWait: (() => void) | undefined;
			let isLate = false;
			const changed = (): void => {
				isLate = endWait !== undefined;
				if (isLate) return;
				endWait = wait(intervalMs(), () => {
					endWait?.();
					endWait = undefined;
					if (isLate) changed();
				});
				update();
			};
			const stop = this.listen(changed);
			return () => {
				stop();
				endWait?.();
			};
		});
	}

	/**
	 * Calls `listener` for every change until the returned function is called. Each call needs a different
	 * function.
	 */
	listen(listener: (value: T) => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	emit(value: T): void {
		for (const listener of [...this.#listeners]) {
			try {
				// Do not call a listener that an earlier one has stopped.
				if (this.#listeners.has(listener)) listener(value);
			} catch (error) {
				this.#onError(error);
			}
		}
	}
}
