import type { RateDecision, RateLimitStore, RateRule } from '../server/backend/rateLimit.js';
import type { Commands } from './commands.js';
import type { Keys } from './keys.js';
import { BLOCK_KEY, TAKE_TOKENS } from './scripts.js';
import { lifetime } from './wire.js';

/**
 * Token buckets in Redis, by the clock of Redis: one key for each, which expires when the bucket is full.
 * Every call is one round trip.
 */
export class RedisRateLimit implements RateLimitStore {
	readonly #commands: Commands;
	readonly #keys: Keys;

	constructor(commands: Commands, keys: Keys) {
		this.#commands = commands;
		this.#keys = keys;
	}

	async take(
		key: string,
		cost: number,
		{ points, intervalMs, blockMs = 0 }: RateRule
	): Promise<RateDecision> {
		const args = [`${cost}`, `${points}`, `${intervalMs}`, lifetime(blockMs)];
		const [isAllowed, retryAfterMs] = await this.#commands.run(
			TAKE_TOKENS,
			[this.#keys.rate(key)],
			args
		);
		return { isAllowed: isAllowed === '1', retryAfterMs: Number(retryAfterMs) };
	}

	async block(key: string, ms: number): Promise<void> {
		await this.#commands.run(BLOCK_KEY, [this.#keys.rate(key)], [lifetime(ms)]);
	}
}
