import type { SyncAction, SyncKey, SyncValues } from '../shared/table.js';
import type { RowWrite } from '../shared/wire.js';
import { laneOf, type Database, type OutboxEntry } from '../storage/database.js';
import { fold } from '../storage/fold.js';

/** Rows that are written in one way. */
export interface Written {
	action: SyncAction;
	rows: RowWrite[];
}

/** Settles what is written; it gets the rows that may be, as they are. */
export type Prepare = (now: readonly (SyncValues | undefined)[]) => Promise<Written[]>;

/**
 * Writes rows here and into the outbox, in one transaction.
 *
 * @param keys The rows that may be written, each once.
 * @param split Makes entries of what is written in one way, each one event.
 */
export function addWrites(
	database: Database,
	name: string,
	keys: readonly SyncKey[],
	prepare: Prepare,
	split: (written: Written) => Omit<OutboxEntry, 'seq'>[]
): Promise<OutboxEntry[]> {
	return database.write([name], async () => {
		const { base, outbox, meta } = database;
		const table = database.table(name);
		const lanes = keys.map((key) => laneOf(name, key));
		const [now, known] = await Promise.all([table.bulkGet([...keys]), base.bulkGet(lanes)]);
		const entries = (await prepare(now)).flatMap(split) as OutboxEntry[];
		const before = new Map(keys.map((key, index) => [key, now[index] ?? null]));
		const isBased = new Set(known.flatMap((one) => one?.lane ?? []));
		// Nothing waits for another; the transaction keeps the order.
		await Promise.all(
			entries.flatMap((entry) => {
				const rows = entry.rows.map(({ key }) => ({ key, row: before.get(key) ?? null }));
				const fresh = rows.filter(({ key }) => !isBased.has(laneOf(name, key)));
				const shown = rows
					.map(({ key, row }) => fold(row, key, [entry]))
					.filter((row) => row !== null);
				return [
					base.bulkPut(
						fresh.map(({ key, row }) => ({ lane: laneOf(name, key), table: name, key, row }))
					),
					outbox.add(entry).then((seq) => (entry.seq = seq)),
					meta.put({ key: 'clock', value: entry.stamp } as never),
					entry.action === 'delete'
						? table.bulkDelete(rows.map(({ key }) => key))
						: table.bulkPut(shown)
				];
			})
		);
		return entries;
	});
}
