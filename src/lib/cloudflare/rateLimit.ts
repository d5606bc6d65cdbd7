import { MemoryRateLimitStore } from '../server/backend/memoryRateLimit.js';
import type { RateDecision, RateLimitStore, RateRule } from '../server/backend/rateLimit.js';
import type { SqlStorageLike } from './platform.js';

/**
 * Buckets in the memory of an object, where they cost no writes. An object that was idle long enough to lose
 * its memory would have full buckets anyway. Bans are stored.
 */
export class SqlRateLimitStore implements RateLimitStore {
	readonly #sql: SqlStorageLike;
	readonly #now: () => number;
	readonly #memory = new MemoryRateLimitStore();

	/** @param now Milliseconds since the epoch. */
	constructor(sql: SqlStorageLike, now: () => number) {
		this.#sql = sql;
		this.#now = now;
		sql.exec(
			'CREATE TABLE IF NOT EXISTS bans (key TEXT PRIMARY KEY, until_ms INTEGER NOT NULL) WITHOUT ROWID'
		);
		for (const { key, until_ms } of [...sql.exec('SELECT * FROM bans')]) {
			void this.#memory.block(String(key), Number(until_ms) - now());
		}
	}

	take(key: string, cost: number, rule: RateRule): Promise<RateDecision> {
		return this.#memory.take(key, cost, rule);
	}

	async block(key: string, ms: number): Promise<void> {
		if (ms > 0) {
			const untilMs = Math.min(this.#now() + ms, Number.MAX_SAFE_INTEGER);
			this.#sql.exec('INSERT OR REPLACE INTO bans VALUES (?, ?)', key, untilMs);
		} else this.#sql.exec('DELETE FROM bans WHERE key = ?', key);
		await this.#memory.block(key, ms);
	}

	/** Deletes what is over. @returns when more of it is, in milliseconds since the epoch. */
	clean(): number | undefined {
		this.#sql.exec('DELETE FROM bans WHERE until_ms <= ?', this.#now());
		const [row] = [...this.#sql.exec('SELECT min(until_ms) AS until_ms FROM bans')];
		return typeof row?.until_ms === 'number' ? row.until_ms : undefined;
	}
}
