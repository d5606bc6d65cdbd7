import type { SyncKey, SyncValues, TableDefinition } from '../shared/table.js';
import { upgradeWrite } from '../shared/upgrade.js';
import type { RowWrite } from '../shared/wire.js';
import type { OutboxEntry } from './database.js';

/** A row with writes on top, oldest first; `null` where there is none. */
export function fold(
	table: TableDefinition,
	row: SyncValues | null,
	key: SyncKey,
	entries: readonly OutboxEntry[]
): SyncValues | null {
	let now = row;
	for (const { action, rows, version } of entries) {
		for (const given of rows) {
			const write = given.key === key && ofVersion(table, given, version);
			if (!write) continue;
			if (action === 'delete') now = null;
			else if (action === 'create') now = { ...now, ...write.row };
			else if (now) now = { ...now, ...pick(write.row!, write.fields!) };
		}
	}
	return now;
}

/** A write as one of the table's present version; nothing where there is no way to it: the server will refuse it. */
function ofVersion(table: TableDefinition, write: RowWrite, version: number): RowWrite | undefined {
	if (version === table.version) return write;
	try {
		return upgradeWrite(table, write, version);
	} catch {
		return undefined;
	}
}

/** Whether two rows are the same. */
export function isSame(one: SyncValues | null | undefined, other: SyncValues | null): boolean {
	if (!one || !other) return !one === !other;
	const fields = Object.keys({ ...one, ...other });
	return fields.every((field) => JSON.stringify(one[field]) === JSON.stringify(other[field]));
}

/** These fields of a row, as far as it has them. */
function pick(row: SyncValues, fields: readonly string[]): SyncValues {
	const known = fields.filter((field) => Object.hasOwn(row, field));
	return Object.fromEntries(known.map((field) => [field, row[field]]));
}
