import type { RealtimeError } from '../protocol/errors.js';
import type { EventIssue } from '../protocol/event.js';
import type { SyncBus } from './line/bus.js';
import type { SyncAction, SyncKey, SyncRow, TableDefinition } from './shared/table.js';
import type { StorageApi } from './storage/database.js';
import type { SyncTable } from './tables/table.js';

/** One table of a `SyncClient`. */
export interface SyncTableOptions<TTable extends TableDefinition = TableDefinition> {
	/** What `defineTable` returned. */
	table: TTable;
	/**
	 * Fields that queries look rows up by, as Dexie writes indexes: `'listId'`, `'[listId+done]'`, `'*tags'`.
	 * @default none besides the key
	 */
	indexes?: readonly string[];
	/**
	 * Makes one row of two that differ. Called when the server's version of a row arrives while writes of this
	 * page wait. Its result is written as another change. It must return the same result for the same two rows.
	 * @default the fields that this page wrote, on top of the server's row
	 */
	merge?(server: SyncRow<TTable>, local: SyncRow<TTable>): SyncRow<TTable>;
}

/** The tables of a `SyncClient`, by the names of its properties. */
export type SyncTables = Record<string, TableDefinition>;

/** A write that the server refused. The row shows the server's version again. */
export interface SyncRejection {
	/** Name of the table. */
	table: string;
	action: SyncAction;
	key: SyncKey;
	/** The row as it was written; `null` where it was deleted. */
	row: Readonly<Record<string, unknown>> | null;
	/** Code `SYNC_REFUSED`, or `SYNC_OUTDATED` where the page must be reloaded; its message is for people. */
	error: RealtimeError;
	/** HTTP status. */
	status: number;
	/** What does not match the schema. */
	issues: readonly EventIssue[];
}

/** Options of `SyncClient`. */
export interface SyncClientOptions<TTables extends SyncTables = SyncTables> {
	/** The name of the local copy. Use the user's id, so that two people who share a browser never share rows. */
	name: string;
	tables: { [K in keyof TTables]: SyncTableOptions<TTables[K]> };
	/** URL of the endpoint. @default '/api/events', or that of `bus` */
	endpoint?: string;
	/** Replaces the global `fetch`. @default that of `bus` */
	fetch?: typeof globalThis.fetch;
	/** The bus whose stream is used. @default a stream of its own */
	bus?: SyncBus;
	/** Called with every write that the server refused, in all tabs. */
	onRejected?: (rejection: SyncRejection) => void;
	/** Called when a table stops, and when the storage fails. `status` has the error as well. */
	onError?: (error: RealtimeError) => void;
	/**
	 * An IndexedDB to use when the browser's own cannot be used, as in some private windows: for example what
	 * `fake-indexeddb` exports. Rows then last as long as the page.
	 * @default none: reads and writes reject with `SYNC_STORAGE`
	 */
	memory?: StorageApi;
	/**
	 * Milliseconds after which a table is fetched again that received messages or lost its stream. It fetches
	 * what changed, so the next start has less to fetch. `false` for never. @default 300_000
	 */
	refreshMs?: number | false;
}

/** A write that waits. */
export interface SyncPending {
	/** Id of its event. */
	readonly id: string;
	/** Name of the table. */
	readonly table: string;
	readonly action: SyncAction;
	/** Keys of its rows. */
	readonly keys: readonly SyncKey[];
	/** ISO 8601. */
	readonly createdAt: string;
}

/** How a table is doing. */
export interface SyncTableStatus {
	/** When the last fetch ended, in whichever tab; `null` before the first. */
	readonly lastSyncAt: Date | null;
	/** Whether it is being fetched. */
	readonly isFetching: boolean;
	/** Why it waits or has stopped; `null` otherwise. */
	readonly error: RealtimeError | null;
}

/** How a `SyncClient` is doing: runes. The same in all tabs, except for `leads` and `error`. */
export interface SyncStatus<TKey extends string = string> {
	/** Whether the endpoint can be reached. */
	readonly online: boolean;
	/** Whether this tab is the one that syncs. */
	readonly leads: boolean;
	/** How many writes wait. */
	readonly pending: number;
	/** What is wrong with the storage; `null` otherwise. */
	readonly error: RealtimeError | null;
	readonly tables: { readonly [K in TKey]: SyncTableStatus };
}

/** What a `SyncClient` has besides its tables. */
export interface SyncControls<TKey extends string = string> {
	readonly status: SyncStatus<TKey>;
	/** Writes that wait for the server, oldest first. A new list after each change. */
	readonly pending: readonly SyncPending[];
	/** Tries at once what waits or has stopped. */
	retry(): void;
	/**
	 * Removes the local copy and all unsent writes, and stops syncing, in all tabs. Call it when somebody signs out.
	 * @throws {RealtimeError} `SYNC_STORAGE`
	 */
	clear(): Promise<void>;
	/** Stops syncing in this tab and closes the copy, which stays. */
	close(): void;
}

/** A client with its tables. */
export type SyncClient<TTables extends SyncTables> = SyncControls<keyof TTables & string> & {
	readonly [K in keyof TTables]: SyncTable<TTables[K]>;
};
