import { RealtimeError } from '../../protocol/errors.js';
import { asRows, type Database, type Row } from './database.js';
import { PgDatabase, type PgPool } from './pg.js';
import { PGliteDatabase, type PGliteClient } from './pglite.js';
import { PostgresJsDatabase, type PostgresSql } from './postgres.js';

/**
 * A client of Postgres: a `Pool` of `pg`, the result of `postgres()` of `postgres`, or a database of
 * `@electric-sql/pglite`.
 */
export type PostgresClient = PgPool | PostgresSql | PGliteClient;

/** Parts of clients that identify them. */
type Shape = Record<'unsafe' | 'query' | 'exec' | 'listen' | 'connect' | 'Client', unknown>;

/**
 * @returns the database behind a client.
 * @throws {RealtimeError} `INVALID_OPTION` when it is not one of the known clients.
 */
export function openDatabase(client: PostgresClient): Database {
	const isObject = typeof client === 'object' || typeof client === 'function';
	const shape = (isObject && client ? client : {}) as Shape;
	if (typeof shape.unsafe === 'function') return new PostgresJsDatabase(client as PostgresSql);
	if (typeof shape.exec === 'function' && typeof shape.listen === 'function') {
		return new PGliteDatabase(client as PGliteClient);
	}
	if (typeof shape.connect === 'function' && typeof shape.Client === 'function') {
		return new PgDatabase(client as PgPool);
	}
	throw new RealtimeError(
		'INVALID_OPTION',
		'This is not a Postgres client: pass a Pool of "pg", what postgres() of "postgres" returns, or a PGlite database.'
	);
}

/**
 * Runs one statement in a transaction of the app: a client of `pg` in a transaction, the `sql` of
 * `sql.begin()`, the `tx` of PGlite's `transaction()`, or anything else with `query(text, values)`.
 *
 * @throws {RealtimeError} `INVALID_OPTION` when `tx` is none of these.
 */
export async function queryInTransaction(
	tx: unknown,
	text: string,
	values: readonly string[]
): Promise<Row[]> {
	const isObject = typeof tx === 'object' || typeof tx === 'function';
	const shape = (isObject && tx ? tx : {}) as Partial<Shape>;
	// Its transforms would change the names of the columns.
	if (typeof shape.unsafe === 'function') {
		const sql = tx as { unsafe(text: string, values: readonly string[]): Values };
		return asRows(await sql.unsafe(text, values).values());
	}
	if (typeof shape.query === 'function' && typeof shape.Client !== 'function') {
		const client = tx as { query(text: string, values: string[]): Promise<{ rows: unknown[] }> };
		return asRows((await client.query(text, [...values])).rows);
	}
	throw new RealtimeError(
		'INVALID_OPTION',
		'`tx` is not a transaction: pass the client of "pg" that began one, the `sql` of `sql.begin()`, or the `tx` of PGlite.'
	);
}

interface Values {
	values(): PromiseLike<unknown[][]>;
}
