import type { RowWrite } from '../shared/wire.js';
import { invalidRow } from '../tables/invalidRow.js';

/** Most bytes, about, of the rows of one event: the endpoint takes 64 KiB. */
const MAX_BYTES = 48 * 1024;

/** Most rows of one event. */
const MAX_ROWS = 500;

/**
 * Rows in as few parts as events can carry.
 *
 * @throws {RealtimeError} `EVENT_INVALID` for a row that is too large.
 */
export function parts(rows: readonly RowWrite[], table: string): RowWrite[][] {
	const found: RowWrite[][] = [];
	let bytes = Infinity;
	for (const row of rows) {
		const size = new TextEncoder().encode(JSON.stringify(row)).length;
		if (size > MAX_BYTES) {
			const text = `has ${size} bytes as JSON, and may have ${MAX_BYTES}: store large values elsewhere`;
			throw invalidRow(table, text);
		}
		if (bytes + size > MAX_BYTES || found.at(-1)!.length >= MAX_ROWS) {
			found.push([]);
			bytes = 0;
		}
		found.at(-1)!.push(row);
		bytes += size;
	}
	return found;
}
