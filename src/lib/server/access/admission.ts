import type { RequestEvent } from '@sveltejs/kit';
import { Failure } from '../failure/failure.js';
import type { RealtimeLimits } from './options.js';

/** Seconds after which a refused client may try again. */
const RETRY_AFTER_SECONDS = '5';

/** Counts open streams of an endpoint, in all and by key. */
export class Admission {
	readonly #limits: RealtimeLimits;
	readonly #byKey = new Map<string, number>();
	#streams = 0;

	constructor(limits: RealtimeLimits) {
		this.#limits = limits;
	}

	/** Open streams. */
	get streams(): number {
		return this.#streams;
	}

	/**
	 * The key that a request counts by; `undefined` where none is counted.
	 *
	 * @throws {Failure} `admission` 500 when `limits.key` throws.
	 */
	keyOf(event: RequestEvent): string | undefined {
		const { maxStreamsPerKey, key } = this.#limits;
		if (maxStreamsPerKey === undefined) return undefined;
		try {
			return key ? String(key(event)) : event.getClientAddress();
		} catch (error) {
			throw new Failure('admission', 500, 'The stream could not be counted.', { cause: error });
		}
	}

	/**
	 * @param own How many of the counted streams are the asking one.
	 * @throws {Failure} `admission` 429 when there is no room for it.
	 */
	check(key: string | undefined, own: 0 | 1 = 0): void {
		const { maxStreams = Infinity, maxStreamsPerKey = Infinity } = this.#limits;
		if (this.#streams - own >= maxStreams) {
			throw refusal(`This server has ${maxStreams} open streams, as many as it may have.`);
		}
		if (key !== undefined && (this.#byKey.get(key) ?? 0) - own >= maxStreamsPerKey) {
			throw refusal(`You have ${maxStreamsPerKey} open streams, as many as you may have.`);
		}
	}

	enter(key: string | undefined): void {
		this.#streams++;
		if (key !== undefined) this.#byKey.set(key, (this.#byKey.get(key) ?? 0) + 1);
	}

	leave(key: string | undefined): void {
		this.#streams--;
		if (key === undefined) return;
		const rest = this.#byKey.get(key)! - 1;
		if (rest > 0) this.#byKey.set(key, rest);
		else this.#byKey.delete(key);
	}
}

function refusal(message: string): Failure {
	return new Failure('admission', 429, message, {
		headers: { 'retry-after': RETRY_AFTER_SECONDS }
	});
}
