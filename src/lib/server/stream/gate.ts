import type { LogEntry } from '../hub/entry.js';
import { isThenable, type Answer } from '../runtime/thenable.js';

/**
 * Checks one message: the returned entry passes, `null` skips the message, and throwing or rejecting denies
 * it.
 */
export type Check = (entry: LogEntry) => Answer<LogEntry | null>;

/** What a gate does with its entries. */
export interface GateEvents {
	/** The message passed and can be sent. */
	pass(entry: LogEntry): void;
	/** The message was denied. The gate is shut and lets nothing through any more. */
	deny(error: unknown): void;
	/** Bytes that started (positive) or stopped (negative) waiting here. */
	held(bytes: number): void;
}

/**
 * Lets a reader's messages through one by one and in order, each after its check. A synchronous check is
 * never awaited. Owned by a subscription.
 */
export class Gate {
	readonly #check: Check;
	readonly #events: GateEvents;
	readonly #waiting: (LogEntry | (() => void))[] = [];
	#checking: LogEntry | undefined;
	#shut = false;

	constructor(check: Check, events: GateEvents) {
		this.#check = check;
		this.#events = events;
	}

	/** Number of entries inside. */
	get size(): number {
		return this.#waiting.length + (this.idle ? 0 : 1);
	}

	/** Whether everything put in has come out. */
	get idle(): boolean {
		return this.#checking === undefined;
	}

	push(entry: LogEntry): void {
		if (this.#shut) return;
		this.#waiting.push(entry);
		// This may exceed the reader's budget and close the reader.
		this.#events.held(entry.frame.length);
		this.#drain();
	}

	/** Calls back when everything pushed before has come out, but not after the gate was shut. */
	after(callback: () => void): void {
		this.#waiting.push(callback);
		this.#drain();
	}

	/** Lets nothing through any more, not even if a running check passes. */
	shut(): void {
		if (this.#shut) return;
		this.#shut = true;
		for (const waiting of [this.#checking, ...this.#waiting.splice(0)]) {
			if (typeof waiting === 'object') this.#events.held(-waiting.frame.length);
		}
	}

	#drain(): void {
		while (this.idle && this.#waiting.length > 0) {
			const next = this.#waiting.shift()!;
			if (typeof next === 'function') next();
			else this.#ask(next);
		}
	}

	#ask(entry: LogEntry): void {
		this.#checking = entry;
		try {
			// A `resync` carries no message to check.
			const answer = entry.kind === 'resync' ? entry : this.#check(entry);
			if (!isThenable(answer)) return this.#finish(entry, answer);
			Promise.resolve(answer).then(
				(passed) => {
					this.#finish(entry, passed);
					this.#drain();
				},
				(error: unknown) => this.#deny(error)
			);
		} catch (error) {
			this.#deny(error);
		}
	}

	#finish(entry: LogEntry, passed: LogEntry | null): void {
		if (this.#shut) return;
		this.#checking = undefined;
		this.#events.held(-entry.frame.length);
		if (passed) this.#events.pass(passed);
	}

	#deny(error: unknown): void {
		if (this.#shut) return;
		this.shut();
		this.#events.deny(error);
	}
}
