import type { LogEntry } from '../hub/entry.js';
import { isThenable } from '../runtime/thenable.js';

/** Checks one message. Passes by returning, denies by throwing or rejecting. */
export type Check = (entry: LogEntry) => void | PromiseLike<void>;

/** What a gate does with its entries. */
export interface GateEvents {
	/** Passed: to be sent. */
	pass(entry: LogEntry): void;
	/** Denied; the gate is shut and lets nothing through any more. */
	deny(error: unknown): void;
	/** Bytes that began (positive) or ceased (negative) to wait here. */
	held(bytes: number): void;
}

/**
 * Lets a reader's messages through one by one, in order, each after its check. A check that answers at
 * once is never awaited. Owned by a subscription.
 */
export class Gate {
	readonly #check: Check;
	readonly #events: GateEvents;
	readonly #waiting: (LogEntry | (() => void))[] = [];
	#busy = false;
	#shut = false;

	constructor(check: Check, events: GateEvents) {
		this.#check = check;
		this.#events = events;
	}

	/** Whether everything put in has come out. */
	get idle(): boolean {
		return !this.#busy;
	}

	push(entry: LogEntry): void {
		if (this.#shut) return;
		this.#waiting.push(entry);
		// What is held may be too much for the reader, who is then gone.
		this.#events.held(entry.frame.length);
		this.#drain();
	}

	/** Calls back once everything pushed before has come out; never, once the gate is shut. */
	after(callback: () => void): void {
		this.#waiting.push(callback);
		this.#drain();
	}

	shut(): void {
		this.#shut = true;
		for (const waiting of this.#waiting.splice(0)) {
			if (typeof waiting !== 'function') this.#events.held(-waiting.frame.length);
		}
	}

	#drain(): void {
		while (!this.#busy && this.#waiting.length > 0) {
			const next = this.#waiting.shift()!;
			if (typeof next === 'function') {
				next();
				continue;
			}
			try {
				// A `resync` tells of no message; there is nothing to check.
				const answer = next.kind === 'resync' ? undefined : this.#check(next);
				if (isThenable(answer)) {
					this.#busy = true;
					answer.then(
						() => this.#finish(next),
						(error: unknown) => this.#finish(next, { error })
					);
				} else this.#finish(next);
			} catch (error) {
				this.#finish(next, { error });
			}
		}
	}

	#finish(entry: LogEntry, denied?: { error: unknown }): void {
		const wasBusy = this.#busy;
		this.#busy = false;
		this.#events.held(-entry.frame.length);
		if (this.#shut) return;
		if (denied) {
			this.shut();
			this.#events.deny(denied.error);
			return;
		}
		this.#events.pass(entry);
		if (wasBusy) this.#drain();
	}
}
