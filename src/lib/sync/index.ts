export { SyncClient } from './client.js';
export { createLiveQuery } from './query/createLiveQuery.js';
export { defineTable } from './shared/table.js';

export type { SyncBus } from './line/bus.js';
export type {
	SyncClientOptions,
	SyncControls,
	SyncPending,
	SyncRejection,
	SyncStatus,
	SyncTableOptions,
	SyncTables,
	SyncTableStatus
} from './options.js';
export type { LiveQuery, LiveQueryOptions } from './query/createLiveQuery.js';
export type {
	DefineTableOptions,
	SyncAction,
	SyncInput,
	SyncKey,
	SyncKeyOf,
	SyncRow,
	SyncServerRow,
	TableDefinition
} from './shared/table.js';
export type { StorageApi } from './storage/database.js';
export type { SyncTable, SyncWrites } from './tables/table.js';
