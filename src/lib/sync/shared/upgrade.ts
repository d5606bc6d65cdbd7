import type { SyncValues, TableDefinition } from './table.js';

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
