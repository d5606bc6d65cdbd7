import { RealtimeError } from '../../protocol/errors.js';
import type { IdempotencyState, IdempotencyStore } from '../backend/idempotency.js';
import { detached } from '../runtime/context.js';
import { inTime } from '../runtime/deadline.js';
import { isWorkerd, unref } from '../runtime/runtime.js';

/** How long, in milliseconds, a run may be silent before another process takes over. */
const LEASE_MS = 30_000;

/** The first and the longest time, in milliseconds, between two looks at what another process runs. */
const MIN_POLL_MS = 20;
const MAX_POLL_MS = 1_000;

/** How long, in milliseconds, to keep trying to record a result while the store is unavailable. */
const RECORD_MS = 5_000;

/** How one key is run. */
export interface OnceRun {
	/** A hash of the data, to tell whether two uses of the key have the same data. */
	hash: string;
	/** How long, in milliseconds, the result is remembered. */
	ttlMs: number;
	/** How long, in milliseconds, to wait for the result of another process. */
	waitMs?: number | undefined;
	/**
	 * How long, in milliseconds, to wait for the work; then the wait ends with `CALLBACK_TIMEOUT`. The work
	 * continues under its lease, and its result is recorded.
	 */
	timeoutMs?: number | undefined;
	/** Called with the result of work that took longer than `timeoutMs`; `undefined` if the lease was lost. */
	onLate?: ((result: Promise<string | undefined>) => void) | undefined;
}

/** The result of a run, and whether it was another run's. */
export interface OnceResult {
	/** JSON, or empty for `undefined`. */
	json: string;
	isRepeat: boolean;
}

/** A key was used with other data. */
export class OnceConflict extends Error {}

/** Another process is running the key, and did not finish in time. */
export class OnceBusy extends Error {}

interface Running {
	readonly hash: string;
	readonly result: Promise<string>;
}

/** Runs work once per key: within this process, and between processes through the store. */
export class Once {
	readonly #store: IdempotencyStore;
	readonly #leaseMs: number;
	readonly #running = new Map<string, Running>();

	constructor(store: IdempotencyStore, leaseMs: number = LEASE_MS) {
		this.#store = store;
		this.#leaseMs = leaseMs;
	}

	/**
	 * Runs `work`, unless its key has run before: then it returns the result of the first run. If `work` fails,
	 * the key may run again. The lease is renewed until `work` settles, however long that takes.
	 *
	 * @param work Returns JSON, or an empty text.
	 * @throws {OnceConflict} when the key was used with another hash.
	 * @throws {OnceBusy} when another process has not ended within `waitMs`.
	 * @throws {RealtimeError} `BACKEND` when the store is unavailable, `CALLBACK_TIMEOUT` after `timeoutMs`,
	 *   `INVALID_MESSAGE` for a result that is too large; and what `work` throws.
	 */
	async run(key: string, run: OnceRun, work: () => Promise<string>): Promise<OnceResult> {
		// On Workers the other request may end before its work: the store says what becomes of that.
		const running = isWorkerd ? undefined : this.#running.get(key);
		if (running && running.hash !== run.hash) throw new OnceConflict();
		if (running) return { json: await running.result, isRepeat: true };
		let isRepeat = false;
		const result = this.#ask(key, run, work, () => (isRepeat = true));
		this.#running.set(key, { hash: run.hash, result });
		try {
			return { json: await result, isRepeat };
		} finally {
			this.#running.delete(key);
		}
	}

	/** @param repeats Called if the result is another run's. */
	async #ask(
		key: string,
		run: OnceRun,
		work: () => Promise<string>,
		repeats: () => void
	): Promise<string> {
		const { hash, waitMs = Infinity } = run;
		const endMs = performance.now() + waitMs;
		for (let pollMs = MIN_POLL_MS; ; pollMs = Math.min(pollMs * 2, MAX_POLL_MS)) {
			const state: IdempotencyState = await this.#store.begin(key, {
				hash,
				leaseMs: this.#leaseMs
			});
			if (state.status === 'conflict') throw new OnceConflict();
			if (state.status === 'first') {
				const json = await this.#hold(key, state.token, run, work);
				if (json !== undefined) return json;
				// It took so long that another process has run it: use the result that the other one recorded.
			} else if (state.status === 'done') {
				repeats();
				return state.result;
			}
			if (performance.now() + pollMs > endMs) throw new OnceBusy();
			await sleep(pollMs);
		}
	}

	/** Runs the work under a lease. @returns `undefined` if the lease was lost meanwhile. */
	async #hold(
		key: string,
		token: string,
		{ ttlMs, timeoutMs, onLate }: OnceRun,
		work: () => Promise<string>
	): Promise<string | undefined> {
		const renew = (): void => {
			// A store that is unavailable is asked again next time.
			Promise.resolve(this.#store.renew(key, token, this.#leaseMs)).catch(() => {});
		};
		const renewing = detached(() => unref(setInterval(renew, this.#leaseMs / 3)));
		const result = work()
			.then((json) => this.#checkSize(json))
			.then(
				(json) => this.#record(key, token, json, ttlMs),
				async (error) => {
					await Promise.resolve(this.#store.fail(key, token)).catch(() => {});
					throw error;
				}
			)
			.finally(() => clearInterval(renewing));
		if (timeoutMs === undefined) return result;
		return inTime(result, timeoutMs, () => {
			onLate?.(result);
			return timeout(timeoutMs);
		});
	}

	/** @throws {RealtimeError} `INVALID_MESSAGE` for a result that is too large. */
	#checkSize(json: string): string {
		const { maxResultBytes = Infinity } = this.#store;
		if (maxResultBytes === Infinity) return json;
		const { length } = new TextEncoder().encode(json);
		if (length <= maxResultBytes) return json;
		throw new RealtimeError(
			'INVALID_MESSAGE',
			`The result is ${length} bytes of JSON, and the backend remembers ${maxResultBytes} at most. Return less, such as the id of what was made: as it is, the key may run again.`
		);
	}

	/** @returns `undefined` if the lease was lost. */
	async #record(
		key: string,
		token: string,
		json: string,
		ttlMs: number
	): Promise<string | undefined> {
		const endMs = performance.now() + RECORD_MS;
		for (let waitMs = 100; ; waitMs *= 2) {
			try {
				return (await this.#store.finish(key, token, json, ttlMs)) ? json : undefined;
			} catch (error) {
				if (performance.now() + waitMs > endMs) throw error;
				await sleep(waitMs);
			}
		}
	}
}

function sleep(ms: number): Promise<void> {
	return new Promise((resolve) => detached(() => unref(setTimeout(resolve, ms))));
}

function timeout(timeoutMs: number): RealtimeError {
	return new RealtimeError(
		'CALLBACK_TIMEOUT',
		`The handler did not settle within ${timeoutMs} ms. It continues, and the event does not run again until it has ended.`
	);
}

/** A hash of the data. */
export async function hashOf(text: string): Promise<string> {
	const bytes = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
	return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
