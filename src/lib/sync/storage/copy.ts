import type { SyncKey, SyncValues, TableDefinition } from '../shared/table.js';
import { upgradeRow } from '../shared/upgrade.js';
import { newId } from '../outbox/id.js';
import type { RowWrite, SyncCursor } from '../shared/wire.js';
import { laneOf, type Database, type OutboxEntry, type TableMeta } from './database.js';
import { fold, isSame } from './fold.js';

/** Makes one row of the server's and the local one, where both have changed. */
export type Merge = (server: SyncValues, local: SyncValues) => SyncValues;

/** A table of the copy. */
export interface CopiedTable {
	definition: TableDefinition;
	merge: Merge | undefined;
}

/** The server's version of a row; `null` where there is none. */
export interface ServerRow {
	key: SyncKey;
	row: SyncValues | null;
}

/** Rows that are compared before they are written, so that queries do not run for nothing. */
const MAX_COMPARED = 100;

/**
 * Changes the local copy, one transaction each. The visible row is always the server's version of it with the
 * writes of the outbox on top.
 */
export class Copy {
	readonly #database: Database;

	constructor(database: Database) {
		this.#database = database;
	}

	/**
	 * Writes rows here, and into the outbox.
	 *
	 * @param prepare Settles what is written, in the same transaction.
	 * @param split Makes entries of it, each one event.
	 */
	async add(
		{ definition: { name } }: CopiedTable,
		prepare: () => Promise<RowWrite[]>,
		split: (rows: RowWrite[]) => Omit<OutboxEntry, 'seq'>[]
	): Promise<OutboxEntry[]> {
		const { base, outbox, meta } = this.#database;
		return this.#database.write([name], async () => {
			const entries = split(await prepare()) as OutboxEntry[];
			for (const entry of entries) {
				const { lanes, stamp } = entry;
				const keys = entry.rows.map(({ key }) => key);
				const known = await base.bulkGet(lanes);
				const before = await this.#table(name).bulkGet(keys);
				const fresh = keys.flatMap((key, index) =>
					known[index]
						? []
						: [{ lane: lanes[index]!, table: name, key, row: before[index] ?? null }]
				);
				if (fresh.length > 0) await base.bulkPut(fresh);
				entry.seq = await outbox.add(entry);
				await meta.put({ key: 'clock', value: stamp } as never);
				await this.#show(
					name,
					keys.map((key, index) => ({ key, row: fold(before[index] ?? null, key, [entry]) }))
				);
			}
			return entries;
		});
	}

	/** Writes to the local copy alone. */
	async local<T>(
		table: string,
		work: (rows: ReturnType<Database['table']>) => Promise<T>
	): Promise<T> {
		return this.#database.write([table], () => work(this.#table(table)));
	}

	/**
	 * Takes over what the server has of some rows.
	 *
	 * @param also Done in the same transaction.
	 */
	async take(
		table: CopiedTable,
		rows: readonly ServerRow[],
		also: () => Promise<unknown> = async () => {}
	): Promise<void> {
		const { name } = table.definition;
		await this.#database.write([name], async () => {
			const waiting = new Set(await this.#database.outbox.orderBy('lanes').uniqueKeys());
			const isFree = ({ key }: ServerRow): boolean => !waiting.has(laneOf(name, key));
			await this.#show(name, rows.filter(isFree));
			for (const one of rows) if (!isFree(one)) await this.#rebase(table, one);
			await also();
		});
	}

	/** Takes a write out of the outbox, and the server's answer over. */
	async settle(
		{ definition: { name } }: CopiedTable,
		entry: OutboxEntry,
		results: readonly (ServerRow | undefined)[]
	): Promise<void> {
		const { outbox, base } = this.#database;
		await this.#database.write([name], async () => {
			await outbox.delete(entry.seq);
			for (const [index, { key }] of entry.rows.entries()) {
				const lane = laneOf(name, key);
				const rest = await this.#waiting(lane);
				const known = await base.get(lane);
				const row = results[index] ? results[index].row : (known?.row ?? null);
				await this.#show(name, [{ key, row: fold(row, key, rest) }]);
				if (rest.length === 0) await base.delete(lane);
				else await base.put({ lane, table: name, key, row });
			}
		});
	}

	/** Removes all rows but these. */
	async keepOnly(
		table: CopiedTable,
		isKept: (lane: string) => boolean,
		also: () => Promise<unknown>
	): Promise<void> {
		const { name } = table.definition;
		const keys = (await this.#table(name).toCollection().primaryKeys()) as SyncKey[];
		const based = await this.#database.base.where('table').equals(name).toArray();
		const all = new Map(
			[...keys, ...based.map(({ key }) => key)].map((key) => [laneOf(name, key), key])
		);
		const gone = [...all].filter(([lane]) => !isKept(lane)).map(([, key]) => ({ key, row: null }));
		await this.take(table, gone, also);
	}

	/** What the server has of a row, as far as it is known here. */
	async serverRow(
		{ definition: { name } }: CopiedTable,
		key: SyncKey
	): Promise<SyncValues | null | undefined> {
		const known = await this.#database.base.get(laneOf(name, key));
		return known ? known.row : this.#table(name).get(key);
	}

	/** How many rows there are. */
	count({ definition: { name } }: CopiedTable): Promise<number> {
		return this.#table(name).count();
	}

	/** Does something in a transaction of its own. */
	change(table: CopiedTable, work: () => Promise<unknown>): Promise<unknown> {
		return this.#database.write([table.definition.name], work);
	}

	async meta({ definition: { name, version } }: CopiedTable): Promise<TableMeta> {
		const key = `table ${name}`;
		return (await this.#database.meta.get(key)) ?? { key, version, cursor: null };
	}

	/** Notes what is known of a table's copy; called within a transaction of it. */
	async note(
		{ definition: { name, version } }: CopiedTable,
		more: { cursor?: SyncCursor; scopes?: string[]; lastSyncAt?: string }
	): Promise<void> {
		const key = `table ${name}`;
		const known = (await this.#database.meta.get(key)) ?? { key, version, cursor: null };
		await this.#database.meta.put({ ...known, ...more });
	}

	/** Brings the copy of an older version to the present one, or empties it, so that it is fetched again. */
	async migrate(table: CopiedTable): Promise<void> {
		const { definition } = table;
		const { name, version } = definition;
		const { version: from } = await this.meta(table);
		if (from === version) return;
		const { base, meta } = this.#database;
		await this.#database.write([name], async () => {
			const upgraded = (row: SyncValues): SyncValues | undefined =>
				upgradeRow(definition, row, from);
			const old: SyncValues[] = await this.#table(name).toArray();
			const rows = old.map(upgraded);
			const isPossible = from < version && rows.every((row) => row !== undefined);
			await this.#table(name).clear();
			if (isPossible) await this.#table(name).bulkPut(rows.flatMap((row) => row ?? []));
			for (const known of await base.where('table').equals(name).toArray()) {
				const row = isPossible && known.row ? upgraded(known.row)! : null;
				await base.put({ ...known, row });
				if (isPossible) continue;
				const shown = fold(row, known.key, await this.#waiting(known.lane));
				if (shown) await this.#table(name).put(shown);
			}
			const known = await this.meta(table);
			await meta.put({ ...known, version, ...(!isPossible && { cursor: null }) });
		});
	}

	#table(name: string): ReturnType<Database['table']> {
		return this.#database.table(name);
	}

	/** Writes of a row, oldest first. */
	#waiting(lane: string): Promise<OutboxEntry[]> {
		return this.#database.outbox.where('lanes').equals(lane).sortBy('seq');
	}

	/** Makes rows visible. */
	async #show(name: string, rows: readonly ServerRow[]): Promise<void> {
		const table = this.#table(name);
		let changed = rows;
		if (rows.length <= MAX_COMPARED) {
			const now = await table.bulkGet(rows.map(({ key }) => key));
			changed = rows.filter(({ row }, index) => !isSame(now[index], row));
		}
		const gone = changed.filter(({ row }) => row === null).map(({ key }) => key);
		if (gone.length > 0) await table.bulkDelete(gone);
		const there = changed.flatMap(({ row }) => row ?? []);
		if (there.length > 0) await table.bulkPut(there);
	}

	/** Puts the writes that wait on top of another version of their row. */
	async #rebase({ definition, merge }: CopiedTable, { key, row }: ServerRow): Promise<void> {
		const { name } = definition;
		const lane = laneOf(name, key);
		const entries = await this.#waiting(lane);
		await this.#database.base.put({ lane, table: name, key, row });
		let shown = fold(row, key, entries);
		const local = merge && row && shown && (await this.#table(name).get(key));
		if (local) {
			const merged = JSON.parse(JSON.stringify(merge!(row!, local))) as SyncValues;
			const fields = Object.keys(merged).filter(
				(field) => JSON.stringify(merged[field]) !== JSON.stringify(shown![field])
			);
			if (fields.length > 0) {
				// What both sides agree on is another write of this side.
				const { seq: _, ...last } = entries.at(-1)!;
				const write = { key, row: merged, fields };
				await this.#database.outbox.add({
					...last,
					id: newId(),
					action: 'update',
					rows: [write],
					lanes: [lane],
					createdAt: new Date().toISOString()
				} as OutboxEntry);
				shown = merged;
			}
		}
		await this.#show(name, [{ key, row: shown }]);
	}
}
