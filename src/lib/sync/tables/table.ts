import { Dexie, type Table } from 'dexie';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type {
	SyncInput,
	SyncKey,
	SyncKeyOf,
	SyncRow,
	SyncValues,
	TableDefinition
} from '../shared/table.js';
import type { Prepare, Written } from '../outbox/add.js';
import type { RowWrite } from '../shared/wire.js';
import { invalidRow } from './invalidRow.js';

/** Reads of a table, as Dexie has them. */
type Reads<TRow, TKey> = Pick<
	Table<TRow, TKey>,
	| 'name'
	| 'schema'
	| 'get'
	| 'bulkGet'
	| 'where'
	| 'filter'
	| 'count'
	| 'offset'
	| 'limit'
	| 'each'
	| 'toArray'
	| 'toCollection'
	| 'orderBy'
	| 'reverse'
>;

/** Writes of a table. Each is visible at once, and resolves when it is in the local copy. */
export interface SyncWrites<TTable extends TableDefinition> {
	/**
	 * Adds a row.
	 *
	 * @returns its key.
	 * @throws {RealtimeError} `EVENT_INVALID` when it does not match the schema, `CLOSED` after `clear()`;
	 *   Dexie's `ConstraintError` when there is a row with its key.
	 */
	add(row: SyncInput<TTable>): Promise<SyncKeyOf<TTable>>;
	/** Adds a row, or writes all its fields if there is one with its key. @throws the same errors as `add`. */
	put(row: SyncInput<TTable>): Promise<SyncKeyOf<TTable>>;
	/** The same as `update`. */
	put(key: SyncKeyOf<TTable>, changes: Partial<SyncInput<TTable>>): Promise<number>;
	/**
	 * Writes some fields of a row. Use `null` to empty a field: JSON has no `undefined`.
	 *
	 * @returns 1, or 0 if there is no such row.
	 */
	update(key: SyncKeyOf<TTable>, changes: Partial<SyncInput<TTable>>): Promise<number>;
	/** Deletes a row, if it is there. */
	delete(key: SyncKeyOf<TTable>): Promise<void>;
	/** Adds rows, with one event. @returns the last key. */
	bulkAdd(rows: readonly SyncInput<TTable>[]): Promise<SyncKeyOf<TTable> | undefined>;
	/** Puts rows, with one event for new rows and one for the others. @returns the last key. */
	bulkPut(rows: readonly SyncInput<TTable>[]): Promise<SyncKeyOf<TTable> | undefined>;
	/** Changes rows, with one event. @returns how many were changed. */
	bulkUpdate(
		changes: readonly { key: SyncKeyOf<TTable>; changes: Partial<SyncInput<TTable>> }[]
	): Promise<number>;
	/** Deletes rows, with one event. */
	bulkDelete(keys: readonly SyncKeyOf<TTable>[]): Promise<void>;
}

/** A table of the local copy. Reads are Dexie's own; collections only read. */
export type SyncTable<TTable extends TableDefinition> = Reads<SyncRow<TTable>, SyncKeyOf<TTable>> &
	SyncWrites<TTable> & {
		/** Writes to the local copy only, for rows that came with the page. */
		readonly local: SyncWrites<TTable> & { clear(): Promise<void> };
	};

/** Where the writes of a table go. */
export interface TableTarget {
	/** Reads the copy. */
	rows(): Table<SyncValues, SyncKey>;
	/**
	 * Writes to the copy and sends.
	 *
	 * @param keys The rows that may be written.
	 * @param prepare Settles what is written, in the transaction.
	 */
	write(keys: readonly SyncKey[], prepare: Prepare): Promise<RowWrite[]>;
	/** Writes to the copy only. */
	local<T>(work: (rows: Table<SyncValues, SyncKey>) => Promise<T>): Promise<T>;
}

type Change = { key: SyncKey; changes: SyncValues };

/** Writes to the copy only, besides `put`. */
const LOCAL = [
	'add',
	'update',
	'delete',
	'bulkAdd',
	'bulkPut',
	'bulkUpdate',
	'bulkDelete',
	'clear'
] as const;

/** A table for pages: Dexie's reads, and writes that are synced. */
export function createSyncTable(definition: TableDefinition, target: TableTarget): object {
	const plainOf = (value: unknown): SyncValues => toPlain(definition, value);
	const keyOf = (row: SyncValues): SyncKey => keyIn(definition, row);
	const add = async (given: readonly unknown[]): Promise<SyncKey | undefined> => {
		const rows = given.map(plainOf);
		const keys = rows.map(keyOf);
		await target.write(keys, async (now) => {
			const taken = keys.find((key, index) => now[index] || keys.indexOf(key) < index);
			if (taken !== undefined) {
				const text = `Table "${definition.name}" has a row with the key ${JSON.stringify(taken)} already.`;
				throw new Dexie.ConstraintError(text);
			}
			return [{ action: 'create', rows: await checked(definition, rows) }];
		});
		return keys.at(-1);
	};
	const changed = async (
		changes: ReadonlyMap<SyncKey, SyncValues>,
		now: readonly (SyncValues | undefined)[]
	): Promise<Written> => {
		const found = [...changes].flatMap(([key, changes], index) => {
			const fields = Object.keys(changes).filter((field) => field !== definition.key);
			return now[index] && fields.length > 0
				? [{ fields, row: { ...now[index], ...changes, [definition.key]: key } }]
				: [];
		});
		const writes = await checked(
			definition,
			found.map(({ row }) => row)
		);
		const rows = writes.map((write, index) => ({ ...write, fields: found[index]!.fields }));
		return { action: 'update', rows };
	};
	const update = async (given: readonly Change[]): Promise<number> => {
		const changes = new Map<SyncKey, SyncValues>();
		for (const { key, changes: more } of given) {
			const plain = plainOf(more);
			if ((plain[definition.key] ?? key) !== key) {
				const text = `keeps its "${definition.key}": add another row, and delete this one`;
				throw invalidRow(definition.name, text);
			}
			changes.set(key, { ...changes.get(key), ...plain });
		}
		const written = await target.write([...changes.keys()], async (now) => [
			await changed(changes, now)
		]);
		return written.length;
	};
	const put = async (given: readonly unknown[]): Promise<SyncKey | undefined> => {
		const rows = new Map(given.map(plainOf).map((row) => [keyOf(row), row]));
		const keys = [...rows.keys()];
		await target.write(keys, async (now) => {
			const fresh = keys.filter((_, index) => !now[index]).map((key) => rows.get(key)!);
			return [
				{ action: 'create', rows: await checked(definition, fresh) },
				await changed(rows, now)
			];
		});
		return keys.at(-1);
	};
	const remove = async (given: readonly SyncKey[]): Promise<void> => {
		const keys = [...new Set(given)];
		await target.write(keys, async (now) => [
			{ action: 'delete', rows: keys.filter((_, index) => now[index]).map((key) => ({ key })) }
		]);
	};
	const local = (method: keyof Table) => {
		return (...args: unknown[]): Promise<unknown> =>
			target.local(async (rows) => {
				const plain = args.map((value) =>
					typeof value === 'object' && value !== null ? plainOf(value) : value
				);
				const given = /^bulk(Add|Put)$/.test(method)
					? await checked(definition, plain[0] as SyncValues[])
					: /^(add|put)$/.test(method) && (await checked(definition, [plain[0] as SyncValues]));
				if (given)
					plain[0] = method.startsWith('bulk') ? given.map(({ row }) => row) : given[0]!.row;
				return (rows[method] as (...args: unknown[]) => Promise<unknown>)(...plain);
			});
	};
	const own: Record<string, unknown> = {
		add: (row: unknown) => add([row]),
		put: (one: unknown, changes?: SyncValues) =>
			changes === undefined ? put([one]) : update([{ key: one as SyncKey, changes }]),
		update: (key: SyncKey, changes: SyncValues) => update([{ key, changes }]),
		delete: (key: SyncKey) => remove([key]),
		bulkAdd: add,
		bulkPut: put,
		bulkUpdate: update,
		bulkDelete: remove,
		local: {
			...Object.fromEntries(LOCAL.map((method) => [method, local(method)])),
			put: (one: unknown, changes?: unknown) =>
				changes === undefined ? local('put')(one) : local('update')(one, changes)
		}
	};
	return new Proxy(own, {
		get(_, name: string) {
			if (Object.hasOwn(own, name)) return own[name];
			const rows = target.rows() as unknown as Record<string, unknown>;
			const member = rows[name];
			return typeof member === 'function' ? (member as () => unknown).bind(rows) : member;
		}
	});
}

/**
 * Runes are proxies, which IndexedDB cannot store. What JSON cannot express is not sent either.
 *
 * @throws {RealtimeError} `EVENT_INVALID` for a value that cannot be JSON.
 */
function toPlain({ name }: TableDefinition, value: unknown): SyncValues {
	try {
		return JSON.parse(JSON.stringify(value)) as SyncValues;
	} catch (cause) {
		throw invalidRow(name, `cannot be JSON: ${(cause as Error).message}`, { cause });
	}
}

function keyIn({ name, key }: TableDefinition, row: SyncValues): SyncKey {
	const value = row?.[key];
	if ((typeof value === 'string' && value !== '') || Number.isFinite(value))
		return value as SyncKey;
	throw invalidRow(name, `needs a text or a number as its "${key}"`);
}

/** @throws {RealtimeError} `EVENT_INVALID` for a row that does not match the schema. */
async function checked(
	definition: TableDefinition,
	rows: readonly SyncValues[]
): Promise<RowWrite[]> {
	const writes: RowWrite[] = [];
	for (const row of rows) {
		let result = definition.schema['~standard'].validate(row);
		// The transaction must not end meanwhile.
		if (result instanceof Promise) result = await Dexie.waitFor(result);
		const { issues } = result as StandardSchemaV1.FailureResult;
		if (issues) {
			const { message, path = [] } = issues[0]!;
			const where = path
				.map((part) => String(typeof part === 'object' ? part.key : part))
				.join('.');
			const text = `does not match its schema: ${message}${where && ` (at ${where})`}`;
			throw invalidRow(definition.name, text, { issues });
		}
		const { value } = result as StandardSchemaV1.SuccessResult<unknown>;
		const plain = toPlain(definition, value);
		const key = keyIn(definition, plain);
		if (key !== row[definition.key]) {
			const text = `has the key ${JSON.stringify(key)} after its schema: write it with that`;
			throw invalidRow(definition.name, text);
		}
		writes.push({ key, row: plain });
	}
	return writes;
}
