import type { SyncKey, SyncValues, TableDefinition } from '../shared/table.js';
import { newId } from '../outbox/id.js';
import type { SyncCursor } from '../shared/wire.js';
import {
	laneOf,
	metaKey,
	type BaseRow,
	type Database,
	type OutboxEntry,
	type TableMeta
} from './database.js';
import { fold, isSame } from './fold.js';
import { showRows, waitingOf, type ServerRow } from './show.js';

/** Makes one row of the server's and the local one, where both have changed. */
export type Merge = (server: SyncValues, local: SyncValues) => SyncValues;

/**
 * What the server's answer says of a row: the row; `'written'` where it took the write, and what it has now is to be
 * fetched; nothing where the row stays as it is known.
 */
export type Settled = ServerRow | 'written' | undefined;

/** A table of the copy. */
export interface CopiedTable {
	definition: TableDefinition;
	merge: Merge | undefined;
}

/**
 * Takes over what the server says, one transaction each. The visible row is always the server's version of it with the
 * writes of the outbox on top.
 */
export class Copy {
	readonly #database: Database;

	constructor(database: Database) {
		this.#database = database;
	}

	/**
	 * Takes over what the server has of some rows.
	 *
	 * @param page Where they are a page of a fetch, what else is done in the same transaction.
	 */
	async take(
		table: CopiedTable,
		rows: readonly ServerRow[],
		page?: () => Promise<unknown>
	): Promise<void> {
		const { name } = table.definition;
		// Of a row that is told twice, the last one counts.
		const byLane = new Map(rows.map((one) => [laneOf(name, one.key), one]));
		await this.#database.write([name], async () => {
			const { outbox, base } = this.#database;
			const waiting = new Set(await outbox.orderBy('lanes').uniqueKeys());
			const busy = [...byLane.keys()].filter((lane) => waiting.has(lane));
			const entries = await waitingOf(this.#database, busy);
			const known = page ? [] : await base.bulkGet(busy);
			const shown = new Map(byLane);
			const based: BaseRow[] = [];
			for (const [index, lane] of busy.entries()) {
				const { key, row } = byLane.get(lane)!;
				const own = entries.filter((entry) => entry.lanes.includes(lane));
				const upTo = page ? own.at(-1)!.seq : known[index]?.upTo;
				based.push({ lane, table: name, key, row, upTo });
				shown.set(lane, { key, row: await this.#rebased(table, key, row, own) });
			}
			await base.bulkPut(based);
			await showRows(this.#database, name, [...shown.values()]);
			await page?.();
		});
	}

	/**
	 * Takes a write out of the outbox, and the server's answer over.
	 *
	 * @param isFetched Whether a fetch that began after the answer has ended; absent where none was waited for.
	 * @returns whether it was there: another tab may have done so. Nothing where such a fetch is needed first.
	 */
	async settle(
		{ definition }: CopiedTable,
		entry: OutboxEntry,
		results: readonly Settled[],
		isFetched?: boolean
	): Promise<boolean | undefined> {
		const { name } = definition;
		return this.#database.write([name], async () => {
			const { outbox, base } = this.#database;
			const { seq, id, lanes } = entry;
			const [waiting, known] = await Promise.all([
				waitingOf(this.#database, lanes),
				base.bulkGet(lanes)
			]);
			if (!waiting.some((one) => one.seq === seq && one.id === id)) return false;
			// A page has brought the row meanwhile, and nobody knows which of the two is newer.
			const isUnsure = lanes.map(
				(_, index) => results[index] !== undefined && (known[index]?.upTo ?? 0) >= seq
			);
			if (isFetched === undefined && isUnsure.includes(true)) return undefined;
			const shown: ServerRow[] = [];
			const based: BaseRow[] = [];
			const free: string[] = [];
			for (const [index, { key }] of entry.rows.entries()) {
				const lane = lanes[index]!;
				const rest = waiting.filter((one) => one.seq !== seq && one.lanes.includes(lane));
				const result = isFetched && isUnsure[index] ? undefined : results[index];
				const before = known[index]?.row ?? null;
				const row =
					result === 'written' ? fold(before, key, [entry]) : result ? result.row : before;
				shown.push({ key, row: fold(row, key, rest) });
				if (rest.length === 0) free.push(lane);
				else based.push({ lane, table: name, key, row, upTo: known[index]?.upTo });
			}
			await Promise.all([
				outbox.delete(seq),
				base.bulkDelete(free),
				base.bulkPut(based),
				showRows(this.#database, name, shown)
			]);
			return true;
		});
	}

	/** Removes all rows but these. */
	async keepOnly(
		table: CopiedTable,
		isKept: (lane: string) => boolean,
		page: () => Promise<unknown>
	): Promise<void> {
		const { name } = table.definition;
		const keys = (await this.#table(name).toCollection().primaryKeys()) as SyncKey[];
		const based = await this.#database.base.where('table').equals(name).toArray();
		const all = new Map(
			[...keys, ...based.map(({ key }) => key)].map((key) => [laneOf(name, key), key])
		);
		const gone = [...all].filter(([lane]) => !isKept(lane)).map(([, key]) => ({ key, row: null }));
		await this.take(table, gone, page);
	}

	/** What the server has of a row, as far as it is known here. */
	async serverRow(
		{ definition: { name } }: CopiedTable,
		key: SyncKey
	): Promise<SyncValues | null | undefined> {
		const known = await this.#database.base.get(laneOf(name, key));
		return known ? known.row : this.#table(name).get(key);
	}

	/** Whether there are no rows, visible or not. */
	async isEmpty({ definition: { name } }: CopiedTable): Promise<boolean> {
		const { base } = this.#database;
		const [shown, based] = await Promise.all([
			this.#table(name).count(),
			base.where('table').equals(name).count()
		]);
		return shown + based === 0;
	}

	/** Does something in a transaction of its own. */
	change(table: CopiedTable, work: () => Promise<unknown>): Promise<unknown> {
		return this.#database.write([table.definition.name], work);
	}

	async meta({ definition }: CopiedTable): Promise<TableMeta> {
		const key = metaKey(definition);
		const { version } = definition;
		return (await this.#database.meta.get(key)) ?? { key, version, cursor: null };
	}

	/** Notes what is known of a table's copy; called within a transaction of it. */
	async note(
		table: CopiedTable,
		more: { cursor?: SyncCursor; scopes?: string[]; lastSyncAt?: string }
	): Promise<void> {
		await this.#database.meta.put({ ...(await this.meta(table)), ...more });
	}

	#table(name: string): ReturnType<Database['table']> {
		return this.#database.table(name);
	}

	/** What the app makes of both versions of a row; nothing where that fails. */
	#merged(
		{ name, key }: TableDefinition,
		merge: Merge,
		server: SyncValues,
		local: SyncValues
	): SyncValues | undefined {
		if (isSame(server, local)) return undefined;
		try {
			const merged = JSON.parse(JSON.stringify(merge(server, local))) as SyncValues;
			return { ...merged, [key]: local[key] };
		} catch (error) {
			const text = `[sveltekit-inngest] \`merge\` of table "${name}" failed; the fields that were written here stay on top.`;
			console.error(text, error);
			return undefined;
		}
	}

	/** The server's version of a row with the writes that wait on top. */
	async #rebased(
		{ definition, merge }: CopiedTable,
		key: SyncKey,
		row: SyncValues | null,
		entries: readonly OutboxEntry[]
	): Promise<SyncValues | null> {
		const { name } = definition;
		const shown = fold(row, key, entries);
		const local = merge && row && shown && (await this.#table(name).get(key));
		const merged = local && this.#merged(definition, merge!, row!, local);
		if (!merged) return shown;
		const fields = Object.keys(merged).filter(
			(field) => JSON.stringify(merged[field]) !== JSON.stringify(shown![field])
		);
		if (fields.length === 0) return shown;
		// What both sides agree on is another write of this side.
		const { version, stamp } = entries.at(-1)!;
		const entry: Omit<OutboxEntry, 'seq'> = {
			id: newId(),
			table: name,
			action: 'update',
			rows: [{ key, row: merged, fields }],
			lanes: [laneOf(name, key)],
			version,
			stamp,
			createdAt: new Date().toISOString()
		};
		await this.#database.outbox.add(entry as OutboxEntry);
		return merged;
	}
}
