import type { StandardSchemaV1 } from '@standard-schema/spec';
import { RealtimeError } from '../../protocol/errors.js';
import type { EventIssue } from '../../protocol/event.js';
import type { SyncKey, SyncValues, TableDefinition } from '../shared/table.js';

/** A row after its schema, or why it is none. */
export type Checked = { row: SyncValues } | { issues: EventIssue[] };

/** Issues that are told of one row. */
const MAX_ISSUES = 20;

/** What the schema makes of a row. */
export async function checkRow(table: TableDefinition, row: unknown): Promise<Checked> {
	const result = await table.schema['~standard'].validate(row);
	if (!result.issues) return { row: result.value as SyncValues };
	return { issues: result.issues.slice(0, MAX_ISSUES).map(plain) };
}

/**
 * A row of a handler as browsers get it: what the schema makes of its JSON. Fields that the schema does not
 * know stay here.
 *
 * @throws {RealtimeError} `INVALID_MESSAGE` when it does not match the schema.
 */
export async function outgoing(table: TableDefinition, row: unknown): Promise<SyncValues> {
	const checked = await checkRow(table, toJson(row));
	if ('row' in checked) {
		const sent = toJson(checked.row) as SyncValues;
		if (isKey(sent[table.key])) return sent;
		checked satisfies { row: SyncValues };
	}
	const [issue] = 'issues' in checked ? checked.issues : [{ message: 'no key', path: [table.key] }];
	const where = issue!.path.length > 0 ? ` (at ${issue!.path.join('.')})` : '';
	throw new RealtimeError(
		'INVALID_MESSAGE',
		`A handler of table "${table.name}" returned a row that does not match the table's schema: ${issue!.message}${where}. Browsers receive JSON, in which a Date is a text.`
	);
}

/** Whether this can be the key of a row. */
export function isKey(value: unknown): value is SyncKey {
	return (typeof value === 'string' && value !== '') || Number.isFinite(value);
}

function toJson(value: unknown): unknown {
	return JSON.parse(JSON.stringify(value ?? null));
}

function plain({ message, path = [] }: StandardSchemaV1.Issue): EventIssue {
	return {
		message,
		path: path
			.map((part) => (typeof part === 'object' ? part.key : part))
			.map((key) => (typeof key === 'symbol' ? String(key) : key))
	};
}
