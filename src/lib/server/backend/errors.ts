import { RealtimeError } from '../../protocol/errors.js';

/**
 * A call to a backend that failed, with a text for logs: it has nothing of what was sent, and says neither
 * where the server is nor who signed in.
 */
export class BackendError extends Error {}

/** @returns why a call failed, for a log; nothing where the error's text may have what must not get there. */
export function reasonOf(error: unknown): string {
	const isForLogs = error instanceof BackendError || error instanceof RealtimeError;
	return isForLogs ? ` ${error.message}` : '';
}
