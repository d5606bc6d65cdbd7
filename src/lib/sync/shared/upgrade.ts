import type { SyncValues, TableDefinition } from './table.js';
import type { RowWrite } from './wire.js';

/**
 * A row of the table's present version.
 *
 * @returns nothing where there is no way from that version.
 */
export function upgradeRow(
	{ version, upgrade }: TableDefinition,
	row: SyncValues,
	from: number
): SyncValues | undefined {
	let upgraded: unknown = row;
	for (let at = from; at !== version; at++) {
		const step = Object.hasOwn(upgrade, at) ? upgrade[at] : undefined;
		if (!step) return undefined;
		upgraded = step(upgraded as never);
	}
	return upgraded as SyncValues;
}

/**
 * A write of the table's present version. A field that got another name counts as written.
 *
 * @returns nothing where there is no way from that version.
 */
export function upgradeWrite(
	table: TableDefinition,
	write: RowWrite,
	from: number
): RowWrite | undefined {
	const { row: old, fields } = write;
	if (!old) return write;
	const row = upgradeRow(table, old, from);
	if (!row) return undefined;
	const fresh = Object.keys(row).filter((field) => !Object.hasOwn(old, field));
	return { ...write, row, ...(fields && { fields: [...fields, ...fresh] }) };
}
