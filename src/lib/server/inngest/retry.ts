import { backoffMs } from '../../protocol/backoff.js';
import { unref } from '../runtime/runtime.js';

const MIN_DELAY_MS = 250;
const MAX_DELAY_MS = 30_000;

/** When the next attempt is due: later with each failure. Owned by the loop, ended by `stop`. */
export class Retry {
	readonly #due: () => void;
	#failures = 0;
	#atMs = 0;
	#timer: ReturnType<typeof setTimeout> | undefined;

	/** @param due Called when a delayed attempt is due. */
	constructor(due: () => void) {
		this.#due = due;
	}

	/** Delays the next attempt. */
	delay(): void {
		this.#atMs = performance.now() + backoffMs(this.#failures++, MIN_DELAY_MS, MAX_DELAY_MS);
	}

	/** The next attempt need not wait. */
	hurry(): void {
		this.#atMs = 0;
	}

	/** Earlier failures no longer count. */
	forget(): void {
		this.#failures = 0;
	}

	/** Whether the next attempt is not due yet; `due` is called when it is. */
	mustWait(): boolean {
		const waitMs = this.#atMs - performance.now();
		if (waitMs <= 0) return false;
		this.stop();
		this.#timer = unref(setTimeout(this.#due, waitMs + 1));
		return true;
	}

	stop(): void {
		clearTimeout(this.#timer);
	}
}
