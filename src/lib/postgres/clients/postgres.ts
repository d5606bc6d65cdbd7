import { RealtimeError } from '../../protocol/errors.js';
import { inTime, SCRIPT_TIMEOUT_MS } from '../time.js';
import {
	asRows,
	listenTo,
	NOTIFY,
	type Database,
	type Row,
	type Session,
	type SessionEvents
} from './database.js';

/** The result of `postgres()` of `postgres`. */
export interface PostgresSql {
	unsafe(query: string): PromiseLike<unknown>;
	begin: unknown;
	options: object;
}

/** The part of such a client that we use. */
interface Sql {
	unsafe(query: string, values?: readonly string[]): Result;
	end(options: { timeout: number }): Promise<void>;
}

interface Result extends PromiseLike<unknown[]> {
	values(): PromiseLike<unknown[][]>;
}

type CreateSql = (options: object) => Sql;

/** Seconds after which an idle connection is closed, so that it does not hold a stopping process open. */
const IDLE_S = 5;

/** Seconds that calls have to finish on connections that are replaced because of another call. */
const GRACE_S = 5;

/** Connections for statements, beside those of the app. */
const MAX_CONNECTIONS = 4;

/**
 * A database behind a client of `postgres`. That library cannot close a single connection that does not
 * answer, and it listens again without saying what a dead connection missed. So this opens its own
 * connections with the client's options, and replaces them all when one does not answer.
 */
export class PostgresJsDatabase implements Database {
	readonly #options: object;
	#sql: Promise<Sql> | undefined;

	constructor(sql: PostgresSql) {
		this.#options = sql.options;
	}

	query(text: string, values: readonly string[], timeoutMs: number): Promise<Row[]> {
		return this.#run((sql) => sql.unsafe(text, values).values(), timeoutMs);
	}

	async script(text: string): Promise<void> {
		await this.#run((sql) => sql.unsafe(text), SCRIPT_TIMEOUT_MS);
	}

	async connect(events: SessionEvents): Promise<Session> {
		const sql = await this.#create({
			max: 1,
			idle_timeout: null,
			max_lifetime: null,
			onclose: () => events.lost(new Error('The connection ended.')),
			onnotify: (channel: string, payload: string) => events.notify(channel, payload)
		});
		return {
			isLocal: false,
			listen: async (channel) => void (await sql.unsafe(listenTo(channel))),
			notify: async (channel, payload) => void (await sql.unsafe(NOTIFY, [channel, payload])),
			end: () => void sql.end({ timeout: 0 }).catch(() => {})
		};
	}

	close(): void {
		this.#end(0);
	}

	/** Drops the connections; pending calls on them may continue for a while. */
	#end(seconds: number): void {
		const ending = this.#sql;
		this.#sql = undefined;
		ending?.then((sql) => sql.end({ timeout: seconds })).catch(() => {});
	}

	async #run<T extends unknown[]>(
		query: (sql: Sql) => PromiseLike<T>,
		timeoutMs: number
	): Promise<Row[]> {
		const used = (this.#sql ??= this.#create({ max: MAX_CONNECTIONS, idle_timeout: IDLE_S }));
		try {
			return asRows(await inTime(query(await used), timeoutMs));
		} catch (error) {
			// An answer with an error is also an answer.
			const isAnswer = (error as { severity?: unknown }).severity === 'ERROR';
			if (!isAnswer && this.#sql === used) this.#end(GRACE_S);
			throw error;
		}
	}

	async #create(options: object): Promise<Sql> {
		const createSql = await loadLibrary();
		return createSql({
			...this.#options,
			backoff: false,
			connect_timeout: 5,
			debug: false,
			fetch_types: false,
			onnotice: () => {},
			// Marks options that are parsed already.
			shared: { retries: 0, typeArrayMap: {} },
			...options
		});
	}
}

async function loadLibrary(): Promise<CreateSql> {
	try {
		const { default: createSql } = await import('postgres');
		return createSql as unknown as CreateSql;
	} catch (cause) {
		throw new RealtimeError(
			'UNSUPPORTED',
			'The package "postgres" cannot be loaded by sveltekit-inngest: make it a dependency of the app, and leave it out of bundles.',
			{ cause }
		);
	}
}
