import { RealtimeError } from '../protocol/errors.js';
import { queryInTransaction } from './clients/client.js';
import { NOTIFY, type Database, type Row } from './clients/database.js';
import { explain } from './errors.js';
import { migrateDatabase } from './migrate.js';
import { inTime } from './time.js';

/** Options for calling the functions of the database. */
export interface StatementsOptions {
	schema: string;
	/** Whether the database is migrated before the first call. */
	migrate: boolean;
	timeoutMs: number;
}

/**
 * Calls the functions of one schema: one statement, which takes a JSON text and returns rows of five
 * columns (log, sequence, kind, topic, payload).
 */
export class Statements {
	readonly schema: string;
	/** Time limit of one call, in milliseconds. */
	readonly timeoutMs: number;
	readonly #database: Database;
	readonly #migrates: boolean;
	#migrated: Promise<void> | undefined;
	#isClosed = false;
	/** How far the database's clock is ahead of this process's clock, in milliseconds. */
	#aheadMs: number | undefined;

	constructor(database: Database, { schema, migrate, timeoutMs }: StatementsOptions) {
		this.schema = schema;
		this.#database = database;
		this.timeoutMs = timeoutMs;
		this.#migrates = migrate;
	}

	/**
	 * When the caller of a call that starts now stops waiting, by the clock of the database. A call that the
	 * server handles later, because it hung, must not change anything.
	 *
	 * @param forMs How long the caller waits, in milliseconds.
	 */
	deadline(forMs: number = this.timeoutMs): number | null {
		return this.#aheadMs === undefined ? null : performance.now() + this.#aheadMs + forMs;
	}

	/** How long, in milliseconds, the server may wait for a lock, so that it gives up before its caller does. */
	get waitMs(): number {
		return Math.ceil(this.timeoutMs * 0.9);
	}

	/**
	 * Learns the time of the database from one of its answers. A late answer makes the database seem behind, so
	 * it counts for less.
	 */
	setClock(clockMs: number): void {
		const aheadMs = clockMs - performance.now();
		const before = this.#aheadMs ?? aheadMs;
		this.#aheadMs = aheadMs >= before ? aheadMs : before + (aheadMs - before) / 10;
	}

	/**
	 * @param options A transaction of the app to run the statement in, or a different time limit.
	 * @throws {RealtimeError} `BACKEND` when the database fails or does not answer in time.
	 */
	async call(
		name: string,
		request: unknown,
		{ tx, timeoutMs = this.timeoutMs }: { tx?: unknown; timeoutMs?: number } = {}
	): Promise<Row[]> {
		const text = `select o_log, o_sequence::text, o_kind, o_topic, o_payload from "${this.schema}".${name}($1::text)`;
		const values = [JSON.stringify(request)];
		if (tx !== undefined) {
			try {
				if (this.#migrates) await inTime(this.#migrate(), this.timeoutMs);
				return await queryInTransaction(tx, text, values);
			} catch (error) {
				throw explain(error, this.schema);
			}
		}
		return await this.#query(text, values, timeoutMs);
	}

	/** Sends a notification. */
	async notify(channel: string, payload: string): Promise<void> {
		await this.#query(NOTIFY, [channel, payload], this.timeoutMs);
	}

	close(): void {
		this.#isClosed = true;
		this.#database.close();
	}

	async #query(text: string, values: readonly string[], timeoutMs: number): Promise<Row[]> {
		if (this.#isClosed) throw new RealtimeError('CLOSED', 'The Postgres backend is closed.');
		try {
			if (this.#migrates) await inTime(this.#migrate(), this.timeoutMs);
			return await this.#database.query(text, values, timeoutMs);
		} catch (error) {
			throw explain(error, this.schema);
		}
	}

	#migrate(): Promise<void> {
		this.#migrated ??= migrateDatabase(this.#database, this.schema).catch((error: unknown) => {
			this.#migrated = undefined;
			throw error;
		});
		return this.#migrated;
	}
}
