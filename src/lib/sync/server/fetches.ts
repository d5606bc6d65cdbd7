import type { RealtimeHandlerContext } from '../../server/index.js';
import type { SyncKey, SyncValues, TableDefinition } from '../shared/table.js';
import type { FetchAnswer, FetchRequest, SyncCursor } from '../shared/wire.js';
import { audienceOf, isFor, scopesOf } from './audience.js';
import { clock } from './clock.js';
import type { SyncOptions, SyncPage, TableSync } from './define.js';
import { isKey, outgoing } from './rows.js';
import { contextOf } from './writes.js';

/** Most rows that a page may ask for. */
const MAX_LIMIT = 5_000;

/** Answers fetches of a table. */
export async function fetchPage(
	{ table, options }: TableSync,
	context: RealtimeHandlerContext,
	{ cursor, limit }: FetchRequest
): Promise<FetchAnswer> {
	const handlers = options as unknown as SyncOptions<TableDefinition>;
	const asked = contextOf(context);
	// What was written before is in what is read from now on.
	const stamp = clock.tick();
	const scopes = scopesOf(context.identity);
	const page = await handlers.fetch(asked, { cursor, limit: Math.min(limit, MAX_LIMIT) });
	const until = clock.tick();
	check(table, page);
	const rows: SyncValues[] = [];
	const deleted: SyncKey[] = [...(page.deleted ?? [])];
	await Promise.all(
		page.rows.map(async (row, index) => {
			const audience = audienceOf(table, await handlers.scope(asked, 'read', row as never));
			const sent = await outgoing(table, row);
			// A row that left the reader's scopes is a delete for it.
			if (isFor(audience, scopes)) rows[index] = sent;
			else deleted.push(sent[table.key] as SyncKey);
		})
	);
	return {
		rows: rows.filter(Boolean),
		deleted,
		cursor: page.cursor as SyncCursor,
		reset: page.reset === true,
		stamp,
		until,
		scopes
	};
}

function check({ name }: TableDefinition, page: SyncPage<TableDefinition>): void {
	const { rows, deleted = [], cursor } = page ?? {};
	const isCursor = cursor === null || typeof cursor === 'string' || Number.isFinite(cursor);
	if (Array.isArray(rows) && Array.isArray(deleted) && deleted.every(isKey) && isCursor) return;
	throw new TypeError(
		`\`fetch\` of table "${name}" must return { rows, deleted?, cursor, reset? }, with a text, a number or null as the cursor.`
	);
}
