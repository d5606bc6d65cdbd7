import { createSubscriber } from 'svelte/reactivity';
import { wait } from './schedule.js';

/**
 * Something that changes outside Svelte. Its listeners hear of every change at once. Effects and
 * templates that called `track` while they ran run again: with the first change at once, with what
 * follows once per frame of the screen.
 */
export class Signal<T = void> {
	readonly #listeners = new Set<(value: T) => void>();
	readonly #onError: (error: unknown) => void;
	/** Makes the effect that runs now depend on this. */
	readonly track: () => void;

	/**
	 * @param onError Called with what a listener threw; the others are called anyway.
	 * @param intervalMs Least milliseconds between two runs of an effect; `undefined` is one frame.
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

	/** Calls `listener`, a function of its own, with every change until the returned one is called. */
	listen(listener: (value: T) => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	emit(value: T): void {
		for (const listener of [...this.#listeners]) {
			try {
				// One that an earlier listener has stopped is not called any more.
				if (this.#listeners.has(listener)) listener(value);
			} catch (error) {
				this.#onError(error);
			}
		}
	}
}
