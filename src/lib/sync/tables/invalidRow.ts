import { RealtimeError } from '../../protocol/errors.js';

/** Says what is wrong with a row that was to be written. */
export function invalidRow(table: string, what: string, more: object = {}): RealtimeError {
	const text = `A row of table "${table}" ${what}.`;
	return Object.assign(new RealtimeError('EVENT_INVALID', text), more);
}
