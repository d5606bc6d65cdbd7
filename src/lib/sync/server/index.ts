export { defineTable } from '../shared/table.js';
export { defineSync } from './define.js';
export { createPublisher } from './publisher.js';
export { syncTables } from './syncTables.js';

export type {
	DefineTableOptions,
	SyncAction,
	SyncInput,
	SyncKey,
	SyncKeyOf,
	SyncRow,
	SyncServerRow,
	TableDefinition
} from '../shared/table.js';
export type { SyncCursor } from '../shared/wire.js';
export type {
	SyncContext,
	SyncOptions,
	SyncPage,
	SyncScope,
	SyncScopeContext,
	SyncWriteContext,
	TableSync
} from './define.js';
export type { PublishedChange, SyncPublisher } from './publisher.js';
export type { SyncedTables } from './syncTables.js';
