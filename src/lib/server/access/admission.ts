import type { RequestEvent } from '@sveltejs/kit';
import { callApp, CallbackError } from '../failure/callback.js';
import { Failure, TEXT } from '../failure/failure.js';
import type { RealtimeIdentity } from './identity.js';
import type { RealtimeLimits } from './options.js';
import { enterStarting, leaveStarting } from './starting.js';

/** Seconds after which a refused client may try again. */
const RETRY_AFTER_SECONDS = 5;

/** Limits with their defaults, as far as admission needs them. */
export type AdmissionLimits = RealtimeLimits & { maxStarting: number };

/** A request that waits for a callback of the app. It counts as a stream until `end`. */
export interface Visit {
	/**
	 * Counts the request by its key as well, from now on.
	 *
	 * @throws {Failure} `admission` 429 when there is no room for that key.
	 */
	countAs(key: string | undefined): void;
	end(): void;
}

/**
 * The key a request is counted by: the id of its sender, else the result of `limits.key`, else its address.
 *
 * @throws {Failure} `admission`: 500 when `limits.key` throws, 503 when it does not settle in time, 403 or
 *   the status of `error()` when it denies.
 */
export async function readKey(
	event: RequestEvent,
	identity: RealtimeIdentity | null,
	{ key, timeoutMs }: { key: RealtimeLimits['key']; timeoutMs: number }
): Promise<string> {
	// The space separates ids from addresses.
	if (identity) return `id ${identity.id}`;
	try {
		if (key) return String(await callApp('limits.key', timeoutMs, () => key(event)));
		return event.getClientAddress();
	} catch (error) {
		if (!(error instanceof CallbackError)) {
			throw new Failure('admission', 500, TEXT.counting, { cause: error });
		}
		throw error.asFailure('admission', { denied: TEXT.denied, fault: TEXT.counting }, 500);
	}
}

/** Number of streams, in total and by key. */
class Tally {
	total = 0;
	readonly #byKey = new Map<string, number>();

	of(key: string): number {
		return this.#byKey.get(key) ?? 0;
	}

	add(change: 1 | -1): void {
		this.total += change;
	}

	addKey(key: string | undefined, change: 1 | -1): void {
		if (key === undefined) return;
		const count = this.of(key) + change;
		if (count > 0) this.#byKey.set(key, count);
		else this.#byKey.delete(key);
	}
}

/** Counts the streams of an endpoint: those that are open, and requests that wait for the app. */
export class Admission {
	readonly #limits: AdmissionLimits;
	readonly #timeoutMs: number;
	readonly #open = new Tally();
	readonly #waiting = new Tally();

	constructor(limits: AdmissionLimits, callbackTimeoutMs: number) {
		this.#limits = limits;
		this.#timeoutMs = callbackTimeoutMs;
	}

	/** Open streams. */
	get streams(): number {
		return this.#open.total;
	}

	/**
	 * The key a request is counted by; `undefined` if keys are not counted.
	 *
	 * @throws {Failure} `admission`: 500 when `limits.key` throws, 503 when it does not settle in time,
	 *   403 or the status of `error()` when it denies.
	 */
	async keyOf(event: RequestEvent, identity: RealtimeIdentity | null): Promise<string | undefined> {
		const { maxStreamsPerKey, key } = this.#limits;
		if (maxStreamsPerKey === undefined) return undefined;
		return readKey(event, key ? null : identity, { key, timeoutMs: this.#timeoutMs });
	}

	/**
	 * Admits a request while it waits for callbacks of the app.
	 *
	 * @throws {Failure} `admission`: 429 when there is no room for another stream, 503 when the process
	 *   authorizes as many as it may.
	 */
	admit(): Visit {
		this.#checkTotal(this.#open.total + this.#waiting.total);
		if (enterStarting(1, this.#limits.maxStarting) === 0) throw busy();
		this.#waiting.add(1);
		let counted: string | undefined;
		return {
			countAs: (key) => {
				if (key === undefined) return;
				this.#checkKey(this.#open.of(key) + this.#waiting.of(key));
				this.#waiting.addKey(key, 1);
				counted = key;
			},
			end: () => {
				leaveStarting();
				this.#waiting.add(-1);
				this.#waiting.addKey(counted, -1);
			}
		};
	}

	/**
	 * Takes places to authorize the channels of one request. Give each one back with `leaveStarting`.
	 *
	 * @returns how many may be authorized at the same time, at least one.
	 * @throws {Failure} `admission` 503 when the process authorizes as many as it may.
	 */
	start(wanted: number): number {
		const taken = enterStarting(wanted, this.#limits.maxStarting);
		if (taken === 0) throw busy();
		return taken;
	}

	/** Counts a stream that has begun. */
	enter(key: string | undefined): void {
		this.#open.add(1);
		this.#open.addKey(key, 1);
	}

	/**
	 * Checks a stream that has just been counted: others may have started since it was admitted.
	 *
	 * @throws {Failure} `admission` 429 when there is no room for it.
	 */
	check(key: string | undefined): void {
		this.#checkTotal(this.#open.total - 1);
		if (key !== undefined) this.#checkKey(this.#open.of(key) - 1);
	}

	leave(key: string | undefined): void {
		this.#open.add(-1);
		this.#open.addKey(key, -1);
	}

	#checkTotal(others: number): void {
		const { maxStreams = Infinity } = this.#limits;
		if (others < maxStreams) return;
		throw full(`This server has ${maxStreams} open streams, which is its limit.`);
	}

	#checkKey(others: number): void {
		const { maxStreamsPerKey = Infinity } = this.#limits;
		if (others < maxStreamsPerKey) return;
		throw full(`You have ${maxStreamsPerKey} open streams, which is your limit.`);
	}
}

function full(message: string): Failure {
	return new Failure('admission', 429, message, {
		headers: { 'retry-after': String(RETRY_AFTER_SECONDS) }
	});
}

/** Pages that are refused together should not all come back together. */
function busy(): Failure {
	const seconds = 1 + Math.floor(Math.random() * RETRY_AFTER_SECONDS);
	const text = 'This server is authorizing as many streams as it may; try again in a moment.';
	return new Failure('admission', 503, text, { headers: { 'retry-after': String(seconds) } });
}
