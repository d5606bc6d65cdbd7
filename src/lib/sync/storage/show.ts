import type { SyncKey, SyncValues } from '../shared/table.js';
import type { Database, OutboxEntry } from './database.js';
import { isSame } from './fold.js';

/** A row; `null` where there is none. */
export interface ServerRow {
	key: SyncKey;
	row: SyncValues | null;
}

/** Rows that are compared before they are written, so that queries do not run for nothing. */
const MAX_COMPARED = 100;

/** Makes rows visible; of several with one key, the last. Called within a transaction. */
export async function showRows(
	database: Database,
	name: string,
	rows: readonly ServerRow[]
): Promise<void> {
	const table = database.table(name);
	let changed = [...new Map(rows.map((one) => [one.key, one])).values()];
	if (changed.length <= MAX_COMPARED) {
		const now = await table.bulkGet(changed.map(({ key }) => key));
		changed = changed.filter(({ row }, index) => !isSame(now[index], row));
	}
	const gone = changed.filter(({ row }) => row === null).map(({ key }) => key);
	if (gone.length > 0) await table.bulkDelete(gone);
	const there = changed.flatMap(({ row }): SyncValues[] => (row ? [row] : []));
	if (there.length > 0) await table.bulkPut(there);
}

/** Writes of some rows that wait, oldest first. */
export async function waitingOf(
	{ outbox }: Database,
	lanes: readonly string[]
): Promise<OutboxEntry[]> {
	// A write of many rows is read once, and not once for each of them.
	const found = await outbox.where('lanes').anyOf(lanes).primaryKeys();
	const seqs = [...new Set(found)].sort((one, other) => one - other);
	return (await outbox.bulkGet(seqs)).filter((entry) => entry !== undefined);
}
