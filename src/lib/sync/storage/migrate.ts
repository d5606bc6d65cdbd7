import type { SyncValues, TableDefinition } from '../shared/table.js';
import { upgradeRow, upgradeWrite } from '../shared/upgrade.js';
import type { RowWrite } from '../shared/wire.js';
import type { Migrate, OutboxEntry } from './database.js';
import { fold } from './fold.js';
import { showRows, waitingOf } from './show.js';

/**
 * Brings the copy of a table from another version to the present one, or empties it, so that it is fetched
 * again. What waits in the outbox stays, and stays visible where there is a way for it.
 */
export const migrate: Migrate = async (database, definition, known) => {
	const { name, version } = definition;
	if (known.version === version) return false;
	const { base, meta, outbox } = database;
	const table = database.table(name);
	const upgraded = (row: SyncValues): SyncValues | undefined =>
		attempt(() => upgradeRow(definition, row, known.version));
	const rows = (await table.toArray()).map(upgraded);
	const isPossible = rows.every((row) => row !== undefined);
	await outbox
		.filter((entry) => entry.table === name)
		.modify((entry) => void (entry.shown = shownOf(definition, entry)));
	await table.clear();
	if (isPossible) await table.bulkPut(rows);
	for (const one of await base.where('table').equals(name).toArray()) {
		const row = (isPossible && one.row && upgraded(one.row)) || null;
		await base.put({ ...one, row });
		const shown = fold(row, one.key, await waitingOf(database, [one.lane]));
		await showRows(database, name, [{ key: one.key, row: shown }]);
	}
	await meta.put({ ...known, version, ...(!isPossible && { cursor: null }) });
	return true;
};

/** What is seen of a write: nothing of what has no way to the present version. */
function shownOf(definition: TableDefinition, { rows, version }: OutboxEntry): RowWrite[] {
	return rows.flatMap((write) => {
		if (version === definition.version) return [write];
		return attempt(() => upgradeWrite(definition, write, version)) ?? [];
	});
}

/** An app's own step may throw. */
function attempt<T>(step: () => T): T | undefined {
	try {
		return step();
	} catch {
		return undefined;
	}
}
