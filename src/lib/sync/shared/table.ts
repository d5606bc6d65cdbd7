import type { StandardSchemaV1 } from '@standard-schema/spec';
import { RealtimeError } from '../../protocol/errors.js';
import type { Jsonify } from '../../protocol/types.js';

/** A key of a row. */
export type SyncKey = string | number;

/** Values by the name of their field. */
export type SyncValues = Record<string, unknown>;

/** What browser and server know of a table. */
export interface TableDefinition<
	TName extends string = string,
	TSchema extends StandardSchemaV1 = StandardSchemaV1,
	TKey extends string = string
> {
	/** What it is called, also in IndexedDB. */
	readonly name: TName;
	/** What a row must match. */
	readonly schema: TSchema;
	/** The field that is a row's key. */
	readonly key: TKey;
	/** Version of the schema. */
	readonly version: number;
	/** Steps from older versions. */
	readonly upgrade: Readonly<Record<number, (row: never) => unknown>>;
}

/** A row as browsers have it: the output of the schema, after JSON. */
export type SyncRow<TTable extends TableDefinition> = Jsonify<
	StandardSchemaV1.InferOutput<TTable['schema']>
>;

/** A row as server code has it: the output of the schema. */
export type SyncServerRow<TTable extends TableDefinition> = StandardSchemaV1.InferOutput<
	TTable['schema']
>;

/** A row as it is written: the input of the schema. */
export type SyncInput<TTable extends TableDefinition> = StandardSchemaV1.InferInput<
	TTable['schema']
>;

/** The type of a table's key. */
export type SyncKeyOf<TTable extends TableDefinition> =
	SyncRow<TTable> extends infer TRow
		? TTable['key'] extends keyof TRow
			? Extract<TRow[TTable['key']], SyncKey>
			: SyncKey
		: SyncKey;

/** What is done to rows. */
export type SyncAction = 'create' | 'update' | 'delete';

/** Options of `defineTable`. */
export interface DefineTableOptions<TSchema extends StandardSchemaV1, TKey extends string> {
	/**
	 * What a row must match: a schema from any library that follows Standard Schema. Rows travel as JSON, so
	 * the schema must accept its own output.
	 */
	schema: TSchema;
	/** The field that is a row's key: a string or a number. */
	key: TKey & SyncKeyField<TSchema>;
	/** Version of the schema, from 1. Raise it when old rows no longer match the schema. @default 1 */
	version?: number;
	/**
	 * Makes rows of the next version: `{ 1: (row) => … }` makes a row of version 2 from one of version 1.
	 * Local copies migrate by it, and writes that wait in an outbox. @default copies are fetched again
	 */
	upgrade?: Record<number, (row: never) => unknown>;
}

type SyncKeyField<TSchema extends StandardSchemaV1> = {
	[
		K in keyof StandardSchemaV1.InferOutput<TSchema>
	]-?: StandardSchemaV1.InferOutput<TSchema>[K] extends SyncKey ? K & string : never;
}[keyof StandardSchemaV1.InferOutput<TSchema>];

const NAME = /^[a-zA-Z][\w-]{0,63}$/;

/**
 * Describes a table that is synced. Write it in a file that the page and the server import.
 *
 * @param name A letter, and up to 63 letters, digits, `_` and `-`.
 * @throws {RealtimeError} `INVALID_OPTION` when the name, `schema`, `key` or `version` cannot work.
 * @example
 * ```ts
 * export const todos = defineTable('todos', {
 *   schema: z.object({ id: z.string(), title: z.string(), done: z.boolean().default(false) }),
 *   key: 'id'
 * });
 * ```
 */
export function defineTable<
	const TName extends string,
	const TSchema extends StandardSchemaV1,
	const TKey extends string
>(
	name: TName,
	{ schema, key, version = 1, upgrade = {} }: DefineTableOptions<TSchema, TKey>
): TableDefinition<TName, TSchema, TKey> {
	// Dexie finds no table that is called like a property of every object.
	if (typeof name !== 'string' || !NAME.test(name) || name in {}) {
		invalid(
			`A table's name is a letter and up to 63 letters, digits, "_" or "-", and not a word like "constructor". "${name}" cannot be one.`
		);
	}
	const { '~standard': standard } = (schema ?? {}) as Partial<StandardSchemaV1>;
	if (typeof standard?.validate !== 'function') {
		invalid(`Table "${name}" needs a \`schema\` that follows Standard Schema.`);
	}
	if (typeof key !== 'string' || key === '')
		invalid(`Table "${name}" needs the name of its \`key\`.`);
	if (!Number.isSafeInteger(version) || version < 1) {
		invalid(`The \`version\` of table "${name}" must be a whole number from 1, not ${version}.`);
	}
	return { name, schema, key: key as TKey, version, upgrade };
}

function invalid(message: string): never {
	throw new RealtimeError('INVALID_OPTION', message);
}
