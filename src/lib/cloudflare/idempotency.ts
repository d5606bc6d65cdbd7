import type { IdempotencyState, IdempotencyStore } from '../server/backend/idempotency.js';
import type { SqlStorageLike } from './platform.js';

/** What ran, in the storage of an object: its answer outlives the object's memory. */
export class SqlIdempotencyStore implements IdempotencyStore {
	readonly #sql: SqlStorageLike;
	readonly #now: () => number;

	/** @param now Milliseconds since the epoch. */
	constructor(sql: SqlStorageLike, now: () => number) {
		this.#sql = sql;
		this.#now = now;
		sql.exec(
			`CREATE TABLE IF NOT EXISTS runs (
				id TEXT PRIMARY KEY, hash TEXT NOT NULL, token TEXT NOT NULL, result TEXT, until_ms INTEGER NOT NULL
			) WITHOUT ROWID`
		);
	}

	async begin(
		id: string,
		{ hash, leaseMs }: { hash: string; leaseMs: number }
	): Promise<IdempotencyState> {
		const [row] = [
			...this.#sql.exec('SELECT * FROM runs WHERE id = ? AND until_ms > ?', id, this.#now())
		];
		if (!row) {
			const token = crypto.randomUUID();
			this.#sql.exec(
				'INSERT OR REPLACE INTO runs VALUES (?, ?, ?, NULL, ?)',
				...[id, hash, token, this.#now() + leaseMs]
			);
			return { status: 'first', token };
		}
		if (row.hash !== hash) return { status: 'conflict' };
		return typeof row.result === 'string'
			? { status: 'done', result: row.result }
			: { status: 'running' };
	}

	async renew(id: string, token: string, leaseMs: number): Promise<boolean> {
		return this.#write('until_ms = ?', [this.#now() + leaseMs], id, token);
	}

	async finish(id: string, token: string, result: string, ttlMs: number): Promise<boolean> {
		return this.#write('result = ?, until_ms = ?', [result, this.#now() + ttlMs], id, token);
	}

	async fail(id: string, token: string): Promise<void> {
		this.#sql.exec('DELETE FROM runs WHERE id = ? AND token = ? AND result IS NULL', id, token);
	}

	/** Deletes what is over. @returns when more of it is, in milliseconds since the epoch. */
	clean(): number | undefined {
		this.#sql.exec('DELETE FROM runs WHERE until_ms <= ?', this.#now());
		const [row] = [...this.#sql.exec('SELECT min(until_ms) AS until_ms FROM runs')];
		return typeof row?.until_ms === 'number' ? row.until_ms : undefined;
	}

	/** Writes to a run that still has its lease. @returns whether it does. */
	#write(set: string, values: (string | number)[], id: string, token: string): boolean {
		const rows = this.#sql.exec(
			`UPDATE runs SET ${set} WHERE id = ? AND token = ? AND result IS NULL AND until_ms > ? RETURNING id`,
			...[...values, id, token, this.#now()]
		);
		return [...rows].length > 0;
	}
}
