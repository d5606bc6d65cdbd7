import type { RowWrite } from '../shared/wire.js';
import type { Database, OutboxEntry } from '../storage/database.js';
import { fold } from '../storage/fold.js';
import { showRows } from '../storage/show.js';

/**
 * Writes rows here and into the outbox, in one transaction.
 *
 * @param prepare Settles what is written.
 * @param split Makes entries of it, each one event.
 */
export function addWrites(
	database: Database,
	name: string,
	prepare: () => Promise<RowWrite[]>,
	split: (rows: RowWrite[]) => Omit<OutboxEntry, 'seq'>[]
): Promise<OutboxEntry[]> {
	const { base, outbox, meta } = database;
	return database.write([name], async () => {
		const entries = split(await prepare()) as OutboxEntry[];
		for (const entry of entries) {
			const { lanes, stamp } = entry;
			const keys = entry.rows.map(({ key }) => key);
			const known = await base.bulkGet(lanes);
			const before = await database.table(name).bulkGet(keys);
			const fresh = keys.flatMap((key, index) =>
				known[index] ? [] : [{ lane: lanes[index]!, table: name, key, row: before[index] ?? null }]
			);
			if (fresh.length > 0) await base.bulkPut(fresh);
			entry.seq = await outbox.add(entry);
			await meta.put({ key: 'clock', value: stamp } as never);
			const rows = keys.map((key, index) => ({
				key,
				row: fold(before[index] ?? null, key, [entry])
			}));
			await showRows(database, name, rows);
		}
		return entries;
	});
}
