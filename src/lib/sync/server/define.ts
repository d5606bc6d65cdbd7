import type { RequestEvent } from '@sveltejs/kit';
import { RealtimeError } from '../../protocol/errors.js';
import type { RealtimeOnce } from '../../server/events/options.js';
import type { RealtimeIdentity } from '../../server/access/identity.js';
import type {
	SyncAction,
	SyncInput,
	SyncKeyOf,
	SyncRow,
	SyncServerRow,
	TableDefinition
} from '../shared/table.js';
import type { SyncCursor } from '../shared/wire.js';
import { createTableChannel, type TableChannel } from './channel.js';
import { Locks } from './locks.js';

type MaybePromise<T> = T | PromiseLike<T>;

/** Who asks. */
export interface SyncContext {
	locals: App.Locals;
	/** The request. */
	event: RequestEvent;
	/** What `identify` of the endpoint said; `null` for a reader without a name. */
	identity: RealtimeIdentity | null;
	requestId: string;
}

/** What the handler of a write is given. */
export interface SyncWriteContext<TRow = unknown> extends SyncContext {
	/** Id of the event, the same whenever it is sent again. */
	id: string;
	/**
	 * When the page wrote it, by the clock of the page, and never later than now. It may be long ago if the page was
	 * offline. Compare it with a time in your row if the older write should lose.
	 */
	writtenAt: Date;
	/** Aborts when the handler has run for too long, or the endpoint is closed. */
	signal: AbortSignal;
	/** Runs a part of the handler once, even if the handler fails later and is tried again. */
	once: RealtimeOnce;
	/**
	 * Says how the row was before, or `null` if it is new. Then only those who had the row are told that it is
	 * gone. Without this call, everybody who reads the table is told its key.
	 */
	previous(row: TRow | null): void;
}

/** What `scope` is given; without a request where a publisher asks. */
export type SyncScopeContext = Omit<SyncContext, 'event' | 'requestId'> & {
	event: RequestEvent | null;
};

/** Who receives a row: everybody who may read the table, or users and teams by their ids. */
export type SyncScope = 'all' | (string & {}) | readonly string[];

/** A page of what changed. */
export interface SyncPage<TTable extends TableDefinition> {
	/** Rows that are new or have changed since the cursor, as they are now. */
	rows: readonly (SyncServerRow<TTable> | SyncInput<TTable> | SyncRow<TTable>)[];
	/** Keys of rows that were deleted since, or that the reader may no longer see. @default none */
	deleted?: readonly SyncKeyOf<TTable>[];
	/** Where the next page begins: a text or a number of yours. */
	cursor: SyncCursor;
	/** Whether the cursor is no longer known, so that this is the first page of everything. @default false */
	reset?: boolean;
}

/** A row of a handler, before or after the schema, before or after JSON. */
type AnyRow<TTable extends TableDefinition> =
	SyncServerRow<TTable> | SyncInput<TTable> | SyncRow<TTable>;

/** Options of `defineSync`. */
export interface SyncOptions<TTable extends TableDefinition = TableDefinition> {
	/** What `defineTable` returned. */
	table: TTable;
	/**
	 * What the reader may see and has changed since `cursor`, which is `null` at first. Asked again, with the
	 * new cursor, until it answers with nothing.
	 *
	 * @param range `limit` is what the page asks for; a page may be of any size.
	 */
	fetch(
		context: SyncContext,
		range: { cursor: SyncCursor; limit: number }
	): MaybePromise<SyncPage<TTable>>;
	/**
	 * Creates a row. It may run again if the process dies: use an upsert.
	 *
	 * @returns the row as it is now.
	 */
	create?(
		context: SyncWriteContext<AnyRow<TTable>>,
		row: SyncServerRow<TTable>
	): MaybePromise<AnyRow<TTable>>;
	/**
	 * Changes a row.
	 *
	 * @returns the row as it is now; `null` where there is none.
	 */
	update?(
		context: SyncWriteContext<AnyRow<TTable>>,
		key: SyncKeyOf<TTable>,
		changes: Partial<SyncServerRow<TTable>>
	): MaybePromise<AnyRow<TTable> | null>;
	/** Deletes a row. What it returns is ignored; see `context.previous`. */
	delete?(context: SyncWriteContext<AnyRow<TTable>>, key: SyncKeyOf<TTable>): MaybePromise<unknown>;
	/**
	 * Who may read the table, and who may write what: `true` lets it pass. To refuse, return anything else,
	 * or throw SvelteKit's `error(4xx)` or `RealtimeDenied`, whose text the page sees.
	 *
	 * @param values What is written, validated: the row, or its key with the changes; absent for `read`.
	 */
	authorize(
		context: SyncContext,
		action: 'read' | SyncAction,
		values?: Partial<SyncServerRow<TTable>>
	): MaybePromise<boolean>;
	/**
	 * Who receives a row: `'all'`, or ids of users or teams. A reader has the `id` that `identify` gave, and
	 * those in its `teams`. With an empty list, nobody receives the row. A row that leaves a scope is a delete there.
	 *
	 * @param row The row as the handlers return it. A publisher gives what it has.
	 */
	scope(
		context: SyncScopeContext,
		action: 'read' | SyncAction,
		row: SyncServerRow<TTable>
	): MaybePromise<SyncScope>;
}

/** A table with its handlers. */
export interface TableSync<TTable extends TableDefinition = TableDefinition> {
	readonly table: TTable;
	/** @internal */
	readonly options: SyncOptions<never>;
	/** @internal */
	readonly channel: TableChannel;
	/** Of its rows. @internal */
	readonly locks: Locks;
}

/**
 * Says how a table is read and written on the server. Without a handler, its operation is refused.
 *
 * @throws {RealtimeError} `INVALID_OPTION` when `table`, `fetch`, `authorize` or `scope` is missing, or is not
 *   what it must be.
 * @example
 * ```ts
 * export const todosSync = defineSync({
 *   table: todos,
 *   authorize: ({ identity }) => identity !== null,
 *   scope: (_, __, row) => row.ownerId,
 *   fetch: ({ identity }, { cursor, limit }) => changesOf(identity!.id, cursor, limit),
 *   create: ({ identity }, row) => insert({ ...row, ownerId: identity!.id })
 * });
 * ```
 */
export function defineSync<TTable extends TableDefinition>(
	options: SyncOptions<TTable>
): TableSync<TTable> {
	const { table } = options;
	if (!table?.schema?.['~standard'] || typeof table.key !== 'string') {
		invalid('`table` of defineSync() is not a table: pass what defineTable() returns.');
	}
	const needed = {
		fetch: 'it says what the reader may see',
		authorize: 'it decides who may read and write',
		scope: "it decides who receives a row; `() => 'all'` sends every row to everybody who may read"
	} as const;
	for (const [name, why] of Object.entries(needed)) {
		if (typeof options[name as 'scope'] === 'function') continue;
		invalid(`\`${name}\` of table "${table.name}" is missing: ${why}.`);
	}
	for (const name of ['create', 'update', 'delete'] as const) {
		if (options[name] === undefined || typeof options[name] === 'function') continue;
		invalid(`\`${name}\` of table "${table.name}" must be a function.`);
	}
	return {
		table,
		options: options as unknown as SyncOptions<never>,
		channel: createTableChannel(table),
		locks: new Locks()
	};
}

function invalid(message: string): never {
	throw new RealtimeError('INVALID_OPTION', message);
}
