import { RealtimeError } from '../../protocol/errors.js';

/**
 * A failed call to a backend, with a text for logs. The text contains no data that was sent, no address of
 * the server and no user name.
 */
export class BackendError extends Error {}

/** @returns why a call failed, for a log; empty if the error's text may contain secrets. */
export function reasonOf(error: unknown): string {
	const isForLogs = error instanceof BackendError || error instanceof RealtimeError;
	return isForLogs ? ` ${error.message}` : '';
}
