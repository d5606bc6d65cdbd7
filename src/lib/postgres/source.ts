import { RealtimeError } from '../protocol/errors.js';
import type {
	RealtimeSource,
	SourceListener,
	SourceMessage,
	SourceState
} from '../server/hub/source.js';
import { openDatabase, type PostgresClient } from './clients/client.js';
import type { Database } from './clients/database.js';
import { HEARTBEAT_MS, Line } from './line.js';
import { checkSchema, rowsChannel } from './schema.js';
import { identifier, quotedTable, tableName } from './trigger.js';

/** Most changes that may wait while a row is read. */
const MAX_WAITING = 10_000;

/** A row as JSON: dates are ISO texts. */
export type JsonRow = Record<string, unknown>;

/** A change of a row. */
export interface RowChange<TRow extends object = JsonRow> {
	/** `schema.table` */
	table: string;
	/** An update that changes the key is a `delete` of the old key and an `insert` of the new one. */
	operation: 'insert' | 'update' | 'delete';
	/** The key's columns. */
	key: JsonRow;
	/**
	 * The row after the change; `null` after a delete. If the row is too long for a notification, it is the
	 * current row, which may be newer than the change.
	 */
	row: TRow | null;
	/** The row before the change; `null` on an insert, and if both rows together are too long. */
	old: TRow | null;
}

/** The message for a change. */
export interface RowMessage {
	topic: string;
	/** The topic's schema validates it, like every message. */
	data: unknown;
	/** Name of the channel. @default every channel that this source feeds */
	channel?: string;
}

/** Which rows become messages, and how. */
export interface PostgresSourceOptions<TRow extends object = JsonRow> {
	/** The table or tables with a trigger from `triggerSql`. */
	table: string | readonly string[];
	/** Whether to use a change. @default every change */
	filter?: (change: RowChange<TRow>) => boolean;
	/** Returns the messages for a change, or nothing for none. It must return the same in every process. */
	map: (change: RowChange<TRow>) => RowMessage | readonly RowMessage[] | null | undefined;
	/** Called when `filter` or `map` throws; readers are told to reload their data. @default console.error */
	onError?: (error: unknown, table: string) => void;
	/** Name of the Postgres schema, as it was passed to `triggerSql`. @default 'sveltekit_inngest' */
	schema?: string;
	/**
	 * A client that connects to the server directly, if `client` goes through a transaction pooler. @default
	 * client
	 */
	listen?: PostgresClient;
	/** Time limit, in milliseconds, for reading a long row. @default 2_000 */
	timeoutMs?: number;
	/** How often, in milliseconds, the connection that listens is tested. @default 10_000 */
	heartbeatMs?: number;
}

/** The notification of the trigger. */
interface Notice {
	table: string;
	/** It changed, but the change is unknown. */
	isUnknown?: boolean;
	/** Number of the transaction, and time in microseconds. */
	tx: string;
	at: number;
	operation: RowChange['operation'];
	/** JSON. */
	key: string;
	columns: string[];
	row?: JsonRow | null;
	old?: JsonRow | null;
}

/**
 * A source whose messages are changes of rows, without going through Inngest. Each process gets every change
 * from the database. Set it as the `source` of the channel's registry entry. The tables need a trigger:
 * {@link triggerSql}.
 *
 * @param client A `Pool` of `pg`, the result of `postgres()` of `postgres`, or a PGlite database.
 * @throws {RealtimeError} `INVALID_OPTION` when the client or an option is not valid.
 */
export function postgresSource<TRow extends object = JsonRow>(
	client: PostgresClient,
	options: PostgresSourceOptions<TRow>
): RealtimeSource {
	if (typeof options?.map !== 'function') {
		throw new RealtimeError(
			'INVALID_OPTION',
			'`map` must be a function that returns messages for a change.'
		);
	}
	return new PostgresSource(client, options as unknown as PostgresSourceOptions);
}

class PostgresSource implements RealtimeSource {
	readonly name = 'postgres';
	readonly #database: Database;
	readonly #line: Line;
	readonly #channel: string;
	readonly #tables: ReadonlySet<string>;
	readonly #options: PostgresSourceOptions;
	/** A list of entries, because a listener may be in it twice. */
	readonly #listeners = new Set<{ listener: SourceListener }>();
	#stopLine: (() => void) | undefined;
	#isLive = false;
	#isClosed = false;
	#waiting: Notice[] = [];
	#isReading = false;

	constructor(client: PostgresClient, options: PostgresSourceOptions) {
		this.#options = options;
		this.#database = openDatabase(client);
		this.#line = Line.of(options.listen ?? client, options.heartbeatMs ?? HEARTBEAT_MS);
		this.#channel = rowsChannel(checkSchema(options.schema));
		const { table } = options;
		this.#tables = new Set((typeof table === 'string' ? [table] : table).map(tableName));
	}

	get state(): SourceState {
		if (this.#isClosed) return 'closed';
		return this.#stopLine ? this.#line.state : 'idle';
	}

	get sockets(): number {
		return this.state === 'open' ? 1 : 0;
	}

	listen(listener: SourceListener): () => void {
		const entry = { listener };
		this.#listeners.add(entry);
		if (!this.#stopLine) this.#start();
		else if (this.#isLive) queueMicrotask(() => this.#listeners.has(entry) && listener.live());
		return () => {
			this.#listeners.delete(entry);
			if (this.#listeners.size === 0) this.#stop();
		};
	}

	close(): void {
		this.#isClosed = true;
		this.#listeners.clear();
		this.#stop();
		this.#database.close();
	}

	#start(): void {
		this.#stopLine = this.#line.listen(this.#channel, {
			notify: (payload) => this.#hear(payload),
			live: () => {
				this.#isLive = true;
				this.#tell((listener) => listener.live());
			},
			lost: (error) => {
				this.#isLive = false;
				this.#waiting = [];
				this.#tell((listener) => listener.lost(error));
			},
			failed: (error) => this.#tell((listener) => listener.failed(error))
		});
	}

	#stop(): void {
		this.#isLive = false;
		this.#waiting = [];
		this.#stopLine?.();
		this.#stopLine = undefined;
	}

	#tell(tell: (listener: SourceListener) => void): void {
		for (const { listener } of [...this.#listeners]) tell(listener);
	}

	#hear(payload: string): void {
		const notice = parse(payload);
		if (!notice || !this.#tables.has(notice.table)) return;
		if (this.#waiting.length >= MAX_WAITING) {
			this.#waiting = [];
			this.#tell((listener) => listener.gap());
		}
		this.#waiting.push(notice);
		if (!this.#isReading) void this.#handle();
	}

	/** Handles changes in order; a long row is read before later changes are handled. */
	async #handle(): Promise<void> {
		this.#isReading = true;
		for (let notice = this.#waiting.shift(); notice; notice = this.#waiting.shift()) {
			try {
				if (notice.isUnknown) this.#tell((listener) => listener.gap());
				else if (notice.row !== undefined) this.#take(notice, notice.row);
				else if (notice.operation === 'delete') this.#take(notice, null);
				else {
					const row = await this.#read(notice);
					// A row that is gone by now has its own announcement as deleted.
					if (row && this.#isLive) this.#take(notice, row);
				}
			} catch {
				if (this.#isLive) this.#tell((listener) => listener.gap());
			}
		}
		this.#isReading = false;
	}

	#take(notice: Notice, row: JsonRow | null): void {
		const { table, operation, old = null } = notice;
		let messages: readonly RowMessage[];
		try {
			const key = JSON.parse(notice.key) as JsonRow;
			const change: RowChange = { table, operation, key, row, old };
			const { filter, map } = this.#options;
			const mapped = filter && !filter(change) ? null : map(change);
			messages = Array.isArray(mapped) ? mapped : mapped ? [mapped as RowMessage] : [];
		} catch (error) {
			this.#report(error, table);
			this.#tell((listener) => listener.gap());
			return;
		}
		for (const [index, message] of messages.entries()) {
			this.#tell((listener) => {
				if (message.channel !== undefined && message.channel !== listener.channel) return;
				if (!listener.topics.includes(message.topic)) return;
				listener.message(new RowChanged(listener.channel, message, { notice, index }));
			});
		}
	}

	#report(error: unknown, table: string): void {
		try {
			const { onError = reportToConsole } = this.#options;
			onError(error, table);
		} catch {
			// An error in the report must not stop the source.
		}
	}

	/** Reads the announced columns of a row that was too long. */
	async #read({ table, key, columns }: Notice): Promise<JsonRow | null> {
		const names = Object.entries(JSON.parse(key) as JsonRow);
		if (names.some(([, value]) => value === null)) throw new Error('No row is found by NULL.');
		const conditions = names
			.map(([name]) => `t.${identifier(name)} = k.${identifier(name)}`)
			.join(' and ');
		const quoted = quotedTable(table);
		const row =
			columns.length === 0
				? 'to_jsonb(t)'
				: '(select jsonb_object_agg(name, to_jsonb(t)->name) from jsonb_array_elements_text($2::text::jsonb) as names(name))';
		const [found] = await this.#database.query(
			`select (${row})::text from ${quoted} t, jsonb_populate_record(null::${quoted}, $1::text::jsonb) k where ${conditions}`,
			columns.length === 0 ? [key] : [key, JSON.stringify(columns)],
			this.#options.timeoutMs ?? 2_000
		);
		return found ? (JSON.parse(found[0]!) as JsonRow) : null;
	}
}

/** A message for a change. */
class RowChanged implements SourceMessage {
	readonly kind = 'data';
	readonly channel: string;
	readonly topic: string;
	readonly data: unknown;
	readonly runId = undefined;
	readonly fnId = undefined;
	readonly envId = undefined;
	readonly createdAt: string;
	readonly streamId = undefined;
	readonly #key: string;

	constructor(
		channel: string,
		{ topic, data }: RowMessage,
		{ notice, index }: { notice: Notice; index: number }
	) {
		this.channel = channel;
		this.topic = topic;
		this.data = data;
		this.createdAt = new Date(notice.at / 1000).toISOString();
		this.#key = [notice.table, notice.tx, notice.at, index, notice.key].join('\n');
	}

	key(): string {
		return this.#key;
	}
}

function reportToConsole(error: unknown, table: string): void {
	console.error(
		`sveltekit-inngest: a change of "${table}" could not be turned into a message.`,
		error
	);
}

function parse(payload: string): Notice | undefined {
	try {
		return JSON.parse(payload) as Notice;
	} catch {
		// Anybody may send notifications.
		return undefined;
	}
}
