import type { EventIssue } from '../../protocol/event.js';
import type { SyncAction, SyncKey, SyncValues, TableDefinition } from './table.js';

/** Topic of a table's channels. */
export const TOPIC = 'change';

/**
 * Name of a channel of a table.
 *
 * @param scope The id of the user or team that it is for; empty, it is for all who may read the table.
 */
export function channelName({ name }: TableDefinition, scope = ''): string {
	return scope === '' ? `sync:${name}` : `sync:${name}:${scope}`;
}

/** Name of an event of a table. */
export function eventName({ name }: TableDefinition, action: SyncAction | 'fetch'): string {
	return `sync/${name}/${action}`;
}

/** One row of a write. */
export interface RowWrite {
	key: SyncKey;
	/** The row after the write, as the page sees it; absent where it is deleted. */
	row?: SyncValues;
	/** The fields that an update writes. */
	fields?: string[];
}

/** Data of the events that write. */
export interface WriteRequest {
	/** When it was written, by the clock of the page. */
	stamp: string;
	rows: RowWrite[];
}

/** What became of one row of a write. */
export type RowResult =
	| {
			/** Version of the row: later ones are greater. */
			stamp: string;
			/** The row as it is now; `null` where it is gone, or not for this reader. */
			row: SyncValues | null;
	  }
	| { refused: RowRefusal };

/** Why a row was not written. */
export interface RowRefusal {
	status: number;
	message: string;
	issues?: EventIssue[];
}

/** Answer to a write: one result per row, in order. */
export interface WriteAnswer {
	/** Version of the table. */
	version: number;
	results: RowResult[];
}

/** Where the next fetch begins. */
export type SyncCursor = string | number | null;

/** Data of the event that fetches. */
export interface FetchRequest {
	cursor: SyncCursor;
	limit: number;
}

/** Answer to a fetch. */
export interface FetchAnswer {
	rows: SyncValues[];
	deleted: SyncKey[];
	cursor: SyncCursor;
	/** The local copy is of no use; what follows is everything. */
	reset: boolean;
	/** When the fetch began, by the clock of the server: what was written before is in it. */
	stamp: string;
	/** When its rows had been read: what was written later is not in it. */
	until: string;
	/** Ids whose rows the reader receives. */
	scopes: string[];
}

/** A change of one row. */
export type RowChange = { stamp: string } & (
	| { row: SyncValues }
	/** Of this row only these fields are known. */
	| { key: SyncKey; fields: SyncValues }
	/** It was deleted; or, with `except`, left all scopes but those that have one of these marks. */
	| { gone: SyncKey; except?: number[] }
);

/** A message of a table's channel. Without changes it says that there are some. */
export interface ChangeMessage {
	/** Version of the table. */
	version: number;
	changes: RowChange[];
}
