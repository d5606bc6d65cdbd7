import type { RequestEvent } from '@sveltejs/kit';
import { MemoryRateLimitStore } from '../backend/memoryRateLimit.js';
import type { RateDecision, RateLimitStore, RateRule } from '../backend/rateLimit.js';
import { callApp, CallbackError } from '../failure/callback.js';
import { Failure, TEXT } from '../failure/failure.js';
import type { RealtimeIdentity } from './identity.js';
import type { RealtimeRate } from './options.js';

/** Kinds of what a page can send. Each is counted by itself, so that none uses up what another needs. */
export type RateKind = 'stream' | 'history' | 'presence' | 'answer' | 'event' | `event ${string}`;

/** A rule that only shows whether a key is kept out. */
const NO_RULE: RateRule = { points: 1, intervalMs: 1 };

/** What rates are limited with. */
export interface RateLimiterOptions {
	rate: RealtimeRate | undefined;
	/** The backend's; what it does not answer is counted in this process. */
	store: RateLimitStore | undefined;
	callbackTimeoutMs: number;
	/** A sender was refused. */
	refused(kind: RateKind): void;
}

/** How often each sender may do what, and who is kept out. */
export class RateLimiter {
	readonly #options: RateLimiterOptions;
	readonly #memory = new MemoryRateLimitStore();

	constructor(options: RateLimiterOptions) {
		this.#options = options;
	}

	/**
	 * What a request is counted by; `undefined` where that cannot be told and no rate is limited.
	 *
	 * @throws {Failure} `admission`: 500 when `limits.rate.key` throws, 503 when it does not settle in
	 *   time, 403 or the status of `error()` when it denies.
	 */
	async senderOf(
		event: RequestEvent,
		identity: RealtimeIdentity | null
	): Promise<string | undefined> {
		const { rate, callbackTimeoutMs } = this.#options;
		const key = rate?.key;
		try {
			if (key) return String(await callApp('limits.rate.key', callbackTimeoutMs, () => key(event)));
			return identity ? idKey(identity.id) : event.getClientAddress();
		} catch (error) {
			// Not every host knows its clients' addresses.
			if (!rate) return undefined;
			if (error instanceof CallbackError) {
				throw error.asFailure('admission', { denied: TEXT.denied, fault: TEXT.counting }, 500);
			}
			throw new Failure('admission', 500, TEXT.counting, { cause: error });
		}
	}

	/**
	 * Counts what a sender does.
	 *
	 * @param cost What it takes of the rule's points.
	 * @param rule One of its own. @default `limits.rate`
	 * @throws {Failure} `admission` 429 with `Retry-After` when it does too much, or is kept out.
	 */
	async check(
		kind: RateKind,
		sender: string | undefined,
		cost = 1,
		rule: RateRule | undefined = this.#options.rate
	): Promise<void> {
		if (sender === undefined) return;
		const decisions = await Promise.all([
			this.#take(banKey(sender), 0, NO_RULE),
			rule && cost > 0 && this.#take(`${kind}\n${sender}`, cost, rule)
		]);
		for (const decision of decisions) {
			if (!decision || decision.isAllowed) continue;
			this.#options.refused(kind);
			const seconds = Math.max(1, Math.ceil(decision.retryAfterMs / 1000));
			throw new Failure('admission', 429, `Too many requests; try again in ${seconds} s.`, {
				headers: { 'retry-after': String(seconds) }
			});
		}
	}

	/**
	 * Keeps a sender out: in this process, and where the backend counts, in all of them.
	 *
	 * @param ms How long; 0 lets it in again.
	 */
	async ban(key: string, ms: number): Promise<void> {
		const keys = sendersOf(key).map(banKey);
		for (const key of keys) await this.#memory.block(key, ms);
		await Promise.all(keys.map((key) => this.#options.store?.block(key, ms)));
	}

	async #take(key: string, cost: number, rule: RateRule): Promise<RateDecision> {
		const { store } = this.#options;
		const own = await this.#memory.take(key, store ? 0 : cost, rule);
		if (!store || !own.isAllowed) return own;
		try {
			return await store.take(key, cost, rule);
		} catch {
			return await this.#memory.take(key, cost, rule);
		}
	}
}

/** What a key may stand for: the id of an identity, an address, or what `limits.rate.key` returned. */
export function sendersOf(key: string): string[] {
	return [key, idKey(key)];
}

/** The space tells an id from an address. */
function idKey(id: string): string {
	return `id ${id}`;
}

function banKey(sender: string): string {
	return `ban\n${sender}`;
}
