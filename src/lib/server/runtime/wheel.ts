import { detached } from './context.js';
import { unref } from './runtime.js';

/** Something that wants to be woken. Owned by whoever added it. */
export interface WheelEntry {
	/** Set by the wheel: the step in which the entry is due. */
	dueStep?: number | undefined;
	/** @param nowMs Milliseconds of `performance.now()`. */
	wake(nowMs: number): void;
}

const STEP_MS = 50;

/**
 * One timer for any number of entries, so that an idle stream holds neither a timer nor a closure.
 * Entries of one step are woken together, never early. The timer runs only while there are entries.
 * Steps are counted by a monotonic clock.
 */
export class Wheel {
	readonly #steps = new Map<number, Set<WheelEntry>>();
	#timer: ReturnType<typeof setInterval> | undefined;
	/** The latest step, counted from the start of the process. */
	#step = 0;

	/** Entries waiting. */
	get size(): number {
		let size = 0;
		for (const entries of this.#steps.values()) size += entries.size;
		return size;
	}

	/** Wakes `entry` once after `delayMs` or a step later; an entry can wait for only one moment at a time. */
	add(entry: WheelEntry, delayMs: number): void {
		this.delete(entry);
		if (!this.#timer) this.#start();
		const due = Math.max(this.#step + 1, Math.ceil((performance.now() + delayMs) / STEP_MS));
		let entries = this.#steps.get(due);
		if (!entries) this.#steps.set(due, (entries = new Set()));
		entries.add(entry);
		entry.dueStep = due;
	}

	delete(entry: WheelEntry): void {
		if (entry.dueStep === undefined) return;
		const entries = this.#steps.get(entry.dueStep);
		entries?.delete(entry);
		if (entries?.size === 0) this.#steps.delete(entry.dueStep);
		entry.dueStep = undefined;
		if (this.#steps.size === 0) this.#stop();
	}

	#start(): void {
		this.#step = Math.floor(performance.now() / STEP_MS);
		this.#timer = detached(() => unref(setInterval(() => this.#advance(), STEP_MS)));
	}

	#stop(): void {
		clearInterval(this.#timer);
		this.#timer = undefined;
	}

	#advance(): void {
		const nowMs = performance.now();
		const target = Math.floor(nowMs / STEP_MS);
		while (this.#timer && this.#step < target) {
			const step = ++this.#step;
			const entries = this.#steps.get(step);
			if (!entries) continue;
			this.#steps.delete(step);
			for (const entry of entries) {
				// An entry that was woken before may have removed or delayed this one.
				if (entry.dueStep !== step) continue;
				entry.dueStep = undefined;
				wake(entry, nowMs);
			}
			if (this.#steps.size === 0) this.#stop();
		}
	}
}

function wake(entry: WheelEntry, nowMs: number): void {
	try {
		entry.wake(nowMs);
	} catch (error) {
		// The others must still be woken.
		console.error('[sveltekit-inngest] The heartbeat of a stream failed.', error);
	}
}
