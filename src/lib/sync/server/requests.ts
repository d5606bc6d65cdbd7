import type { StandardSchemaV1 } from '@standard-schema/spec';
import { isStamp } from '../shared/clock.js';
import type { SyncAction, SyncValues } from '../shared/table.js';
import type { FetchRequest, RowWrite, WriteRequest } from '../shared/wire.js';
import { isKey } from './rows.js';

/** Most rows of one write. */
const MAX_ROWS = 1_000;

/** Longest text that is a cursor. */
const MAX_CURSOR = 4_096;

/** The form of a write. What its rows hold is for the table's own schema. */
export function writeSchema(action: SyncAction): StandardSchemaV1<WriteRequest> {
	return schema((value) => {
		const { stamp, rows } = value as unknown as WriteRequest;
		if (!isStamp(stamp)) return '`stamp` is no stamp of a clock';
		if (!Array.isArray(rows) || rows.length === 0 || rows.length > MAX_ROWS) {
			return `\`rows\` must be 1 to ${MAX_ROWS} rows`;
		}
		return rows.every((row) => isWrite(action, row)) ? undefined : 'a row of `rows` is malformed';
	});
}

/** The form of a fetch. */
export const fetchSchema: StandardSchemaV1<FetchRequest> = /* @__PURE__ */ schema((value) => {
	const { cursor, limit } = value as unknown as FetchRequest;
	if (!Number.isSafeInteger(limit) || limit < 1) return '`limit` must be a whole number from 1';
	const isCursor =
		cursor === null ||
		Number.isFinite(cursor) ||
		(typeof cursor === 'string' && cursor.length <= MAX_CURSOR);
	return isCursor ? undefined : '`cursor` must be a text, a number or null';
});

function isWrite(action: SyncAction, write: unknown): write is RowWrite {
	const { key, row, fields } = (write ?? {}) as Partial<RowWrite>;
	if (!isKey(key)) return false;
	if (action === 'delete') return row === undefined;
	if (typeof row !== 'object' || row === null || Array.isArray(row)) return false;
	if (action === 'create') return fields === undefined;
	return Array.isArray(fields) && fields.every((field) => typeof field === 'string');
}

/** @param find Says what is wrong with an object. */
function schema<T>(find: (value: SyncValues) => string | undefined): StandardSchemaV1<T> {
	return {
		'~standard': {
			version: 1,
			vendor: 'sveltekit-inngest',
			validate(value) {
				const isObject = typeof value === 'object' && value !== null;
				const message = isObject ? find(value as SyncValues) : 'the data must be an object';
				return message === undefined ? { value: value as T } : { issues: [{ message }] };
			}
		}
	};
}
