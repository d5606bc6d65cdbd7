/**
 * A cursor names a position in a channel's log: `<epoch>-<sequence>`. An epoch is one life of that
 * log; sequences of different epochs cannot be compared.
 */

const CURSOR = /^([A-Za-z0-9_.]{1,64})-(\d{1,15})$/;

/** @returns the cursor of a position. */
export function formatCursor(epoch: string, sequence: number): string {
	return `${epoch}-${sequence}`;
}

/** A cursor that belongs to no log: a reader that starts from it gets a `resync`. */
export const UNKNOWN_CURSOR = /* @__PURE__ */ formatCursor('unknown', 0);

/** @returns epoch and sequence, or `null` for a text that is not a cursor. */
export function parseCursor(cursor: string): { epoch: string; sequence: number } | null {
	const match = CURSOR.exec(cursor);
	return match ? { epoch: match[1]!, sequence: Number(match[2]) } : null;
}

/** @returns negative, zero or positive as `a` is before, at or after `b`; `null` across epochs. */
export function compareCursors(a: string, b: string): number | null {
	const left = parseCursor(a);
	const right = parseCursor(b);
	if (!left || !right || left.epoch !== right.epoch) return null;
	return left.sequence - right.sequence;
}
