import type { SyncKey, SyncValues } from '../shared/table.js';
import type { OutboxEntry } from './database.js';

/** A row with writes on top, oldest first; `null` where there is none. */
export function fold(
	row: SyncValues | null,
	key: SyncKey,
	entries: readonly OutboxEntry[]
): SyncValues | null {
	let now = row;
	for (const { action, rows, shown = rows } of entries) {
		for (const write of shown) {
			if (write.key !== key) continue;
			if (action === 'delete') now = null;
			else if (action === 'create') now = { ...now, ...write.row };
			else if (now) now = { ...now, ...pick(write.row!, write.fields!) };
		}
	}
	return now;
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
