import type { SyncValues, TableDefinition } from '../shared/table.js';
import { upgradeRow } from '../shared/upgrade.js';
import type { Database, TableMeta } from './database.js';
import { fold } from './fold.js';
import { waitingOf } from './show.js';

/**
 * Brings the copy of a table from another version to the present one, or empties it, so that it is fetched
 * again. What waits in the outbox stays, and stays visible.
 */
export async function migrate(
	database: Database,
	definition: TableDefinition,
	meta: TableMeta
): Promise<void> {
	const { name, version } = definition;
	const upgraded = (row: SyncValues): SyncValues | undefined =>
		upgradeRow(definition, row, meta.version);
	await database.write([name], async () => {
		const table = database.table(name);
		const old: SyncValues[] = await table.toArray();
		const rows = meta.version < version ? old.map(upgraded) : [undefined];
		const isPossible = rows.every((row) => row !== undefined);
		await table.clear();
		if (isPossible) await table.bulkPut(rows);
		for (const known of await database.base.where('table').equals(name).toArray()) {
			const row = isPossible && known.row ? upgraded(known.row)! : null;
			await database.base.put({ ...known, row });
			if (isPossible) continue;
			const shown = fold(row, known.key, await waitingOf(database, known.lane));
			if (shown) await table.put(shown);
		}
		await database.meta.put({ ...meta, version, ...(!isPossible && { cursor: null }) });
	});
}
