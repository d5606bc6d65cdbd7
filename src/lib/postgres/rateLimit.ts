import type { RateDecision, RateLimitStore, RateRule } from '../server/backend/rateLimit.js';
import type { PostgresReplayStore } from './replay.js';
import type { Statements } from './statements.js';
import { hash } from './text.js';
import { lifetime } from './time.js';

/**
 * Token buckets in Postgres, by its clock: one row for each bucket that is not full. Every call is one
 * statement.
 */
export class PostgresRateLimit implements RateLimitStore {
	readonly #statements: Statements;
	readonly #store: Pick<PostgresReplayStore, 'startPruning'>;

	/** @param store Deletes expired rows. */
	constructor(statements: Statements, store: Pick<PostgresReplayStore, 'startPruning'>) {
		this.#statements = statements;
		this.#store = store;
	}

	async take(
		key: string,
		cost: number,
		{ points, intervalMs, blockMs = 0 }: RateRule
	): Promise<RateDecision> {
		this.#store.startPruning();
		const [row] = await this.#statements.call('rate_take', {
			key: hash(key),
			cost,
			points,
			intervalMs,
			blockMs: lifetime(blockMs),
			waitMs: this.#statements.waitMs
		});
		const [, , kind, , retryAfterMs] = row!;
		return { isAllowed: kind === 'allowed', retryAfterMs: Number(retryAfterMs) };
	}

	async block(key: string, ms: number): Promise<void> {
		const { waitMs } = this.#statements;
		await this.#statements.call('rate_block', { key: hash(key), ms: lifetime(ms), waitMs });
	}
}
