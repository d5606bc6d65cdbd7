import type { PresenceMember } from '../backend/presence.js';
import { detached } from '../runtime/context.js';
import { unref } from '../runtime/runtime.js';

type Data = Record<string, unknown>;

/** A member as this process holds it: its streams here, and what the store was told of them. */
export class Holding {
	readonly id: string;
	/** What the server said about the member when it came. */
	readonly base: Data;
	/** Open streams of this process. */
	streams = 0;
	/** Streams that the store knows of; `null` where that is not certain. */
	stored: number | null = 0;
	/** The step that brings the store in line, while it runs. */
	step: Promise<void> | undefined;
	/** The channel had no room for it. */
	isFull = false;
	/** Whether the hooks of the app know of it. */
	isTold = false;
	/** Whether it was a member before the store was asked anew, so that it does not join once more. */
	isKept = false;
	/** The store took it as a new member, and the hooks of the app were not told, because it was kept. */
	untold: PresenceMember | undefined;
	/** Whether the channel had room for it. */
	isAdmitted = false;
	/** A join of a new member was not answered, and may have happened. */
	mayHaveJoined = false;
	/** The member as it was when a leave was not answered. */
	left: PresenceMember | undefined;
	/** Version of a leave that was announced while this process was joining. */
	goneVersion = -1;
	/** Data that the store has not been told yet. */
	pending: Data | undefined;
	/** Settles when the changes of its data are made that have begun. */
	changing: Promise<void> | undefined;
	#linger: ReturnType<typeof setTimeout> | undefined;
	/** Timers of fields that go back by themselves. */
	readonly #expiring = new Map<string, ReturnType<typeof setTimeout>>();

	constructor(id: string, base: Data) {
		this.id = id;
		this.base = base;
	}

	/** Streams that the store is to know of: one that just went is waited for. */
	get wanted(): number {
		if (this.isFull) return 0;
		return this.streams || (this.#linger ? 1 : 0);
	}

	/** Waits for its last stream to come back. `over` is called if it does not. */
	linger(ms: number, over: () => void): void {
		this.comeBack();
		this.#linger = later(ms, () => {
			this.#linger = undefined;
			over();
		});
	}

	/** Its stream is back, or not waited for any more. */
	comeBack(): void {
		clearTimeout(this.#linger);
		this.#linger = undefined;
	}

	/** Its data with what is pending. */
	dataOf(member: PresenceMember | undefined): Data {
		return this.pending ?? (member ? (JSON.parse(member.data) as Data) : this.base);
	}

	/**
	 * Fields that a page set stay, or go back after `ttlMs`.
	 *
	 * @param data What the member has now: a field that is not in it has nothing to go back.
	 * @param over Called with the fields that go back.
	 */
	expire(
		fields: readonly string[],
		data: Data,
		ttlMs: number | undefined,
		over: (fields: string[]) => void
	): void {
		const isGone = (field: string): boolean => !Object.hasOwn(data, field);
		this.#forget([...fields, ...[...this.#expiring.keys()].filter(isGone)]);
		if (ttlMs === undefined) return;
		for (const field of new Set(fields)) {
			if (isGone(field)) continue;
			const timer = later(ttlMs, () => {
				this.#expiring.delete(field);
				over([field]);
			});
			this.#expiring.set(field, timer);
		}
	}

	/** Fields that are about to go back; their timers end. */
	takeExpiring(): string[] {
		const fields = [...this.#expiring.keys()];
		this.#forget(fields);
		return fields;
	}

	#forget(fields: readonly string[]): void {
		for (const field of fields) {
			clearTimeout(this.#expiring.get(field));
			this.#expiring.delete(field);
		}
	}

	/** Ends its timers. */
	close(): void {
		this.comeBack();
		this.takeExpiring();
	}
}

/** Calls back later, in no request's context, without keeping the process. */
function later(ms: number, callback: () => void): ReturnType<typeof setTimeout> {
	return detached(() => unref(setTimeout(callback, ms)));
}
