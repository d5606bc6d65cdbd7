import type { RequestEvent } from '@sveltejs/kit';
import { MemoryRateLimitStore } from '../backend/memoryRateLimit.js';
import type { RateDecision, RateLimitStore, RateRule } from '../backend/rateLimit.js';
import { callApp, CallbackError } from '../failure/callback.js';
import { Failure, TEXT } from '../failure/failure.js';
import type { RealtimeIdentity } from './identity.js';
import type { RealtimeRate } from './options.js';

/**
 * Kinds of requests that a page can send. Each is counted separately, so that none uses up another's limit.
 */
export type RateKind = 'stream' | 'history' | 'presence' | 'answer' | 'event' | `event ${string}`;

/** A rule that only checks whether a key is blocked. */
const NO_RULE: RateRule = { points: 1, intervalMs: 1 };

/** What limiting rates needs. */
export interface RateLimiterOptions {
	rate: RealtimeRate | undefined;
	/** The backend's store; this process counts when it does not answer. */
	store: RateLimitStore | undefined;
	callbackTimeoutMs: number;
	/** Called when a sender was refused. */
	refused(kind: RateKind): void;
}

/** How often each sender may do what, and which senders are blocked. */
export class RateLimiter {
	readonly #options: RateLimiterOptions;
	readonly #memory = new MemoryRateLimitStore();

	constructor(options: RateLimiterOptions) {
		this.#options = options;
	}

	/**
	 * The key a request is counted by; `undefined` if it is not known and no rate is limited.
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
			// Some hosts do not know their clients' addresses.
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
	 * @param cost Points that it takes from the rule's bucket.
	 * @param rule A rule of its own. @default `limits.rate`
	 * @throws {Failure} `admission` 429 with `Retry-After` when it does too much, or is blocked.
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
	 * Blocks a sender: in this process or, if the backend counts, in all of them.
	 *
	 * @param ms Duration in milliseconds; 0 unblocks it.
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

/** What a key can be: the id of an identity, an address, or the result of `limits.rate.key`. */
export function sendersOf(key: string): string[] {
	return [key, idKey(key)];
}

/** The space separates ids from addresses. */
function idKey(id: string): string {
	return `id ${id}`;
}

function banKey(sender: string): string {
	return `ban\n${sender}`;
}
