import type { LogEntry } from '../hub/entry.js';
import { isThenable } from '../runtime/thenable.js';

/** Checks one message: passes it by returning, denies it by throwing or rejecting. */
export type Check = (entry: LogEntry) => void | PromiseLike<void>;

/** What a gate does with its entries. */
export interface GateEvents {
	/** The message passed and is to be sent. */
	pass(entry: LogEntry): void;
	/** The message was denied. The gate is shut and lets nothing through any more. */
	deny(error: unknown): void;
	/** Bytes that started (positive) or stopped (negative) waiting here. */
	held(bytes: number): void;
}

/**
 * Lets a reader's messages through one by one and in order, each after its check. A check that answers
 * at once is never awaited. Owned by a subscription.
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
		// This may exceed the reader's budget, and the reader is then gone.
		this.#events.held(entry.frame.length);
		this.#drain();
	}

	/** Calls back when everything pushed before has come out; never after the gate was shut. */
	after(callback: () => void): void {
		this.#waiting.push(callback);
		this.#drain();
	}

	/** Lets nothing through any more, whatever a check that is still running answers. */
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
				// A `resync` carries no message to check.
				const answer = next.kind === 'resync' ? undefined : this.#check(next);
				if (!isThenable(answer)) this.#finish(next);
				else {
					this.#busy = true;
					Promise.resolve(answer).then(
						() => this.#finish(next),
						(error: unknown) => this.#finish(next, { error })
					);
				}
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
