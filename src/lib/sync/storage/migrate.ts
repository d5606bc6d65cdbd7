import type { SyncValues, TableDefinition } from '../shared/table.js';
import { upgradeRow } from '../shared/upgrade.js';
import type { Database, TableMeta } from './database.js';
import { fold } from './fold.js';
import { showRows, waitingOf } from './show.js';

/**
 * Brings the copy of a table from another version to the present one, or empties it, so that it is fetched
 * again. What waits in the outbox stays, and stays visible where there is a way for it. Called within a transaction.
 *
 * @returns whether it was of another version.
 */
export async function migrate(
	database: Database,
	definition: TableDefinition,
	known: TableMeta
): Promise<boolean> {
	const { name, version } = definition;
	const { base, meta } = database;
	if (known.version === version) return false;
	const upgraded = (row: SyncValues): SyncValues | undefined => {
		try {
			return upgradeRow(definition, row, known.version);
		} catch {
			return undefined;
		}
	};
	const table = database.table(name);
	const rows = (await table.toArray()).map(upgraded);
	const isPossible = known.version < version && rows.every((row) => row !== undefined);
	await table.clear();
	if (isPossible) await table.bulkPut(rows as SyncValues[]);
	for (const one of await base.where('table').equals(name).toArray()) {
		const row = (isPossible && one.row && upgraded(one.row)) || null;
		await base.put({ ...one, row });
		const shown = fold(definition, row, one.key, await waitingOf(database, one.lane));
		await showRows(database, name, [{ key: one.key, row: shown }]);
	}
	await meta.put({ ...known, version, ...(!isPossible && { cursor: null }) });
	return true;
}
