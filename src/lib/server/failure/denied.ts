/**
 * Thrown by a callback of your app to deny a reader: the channel ends for good, and the page sees the
 * message. While a stream is open, `false`, `error(4xx)` of SvelteKit and this class are the only
 * denials; anything else that is thrown is a fault, after which the page tries again.
 *
 * @example
 * ```ts
 * reauthorize: async ({ locals }) => {
 *   const session = await sessions.find(locals.sessionId); // a fault, if the database is down
 *   if (!session) throw new RealtimeDenied('Please sign in again.');
 *   return true;
 * }
 * ```
 */
export class RealtimeDenied extends Error {
	override readonly name = 'RealtimeDenied';
}

/** Whether a thrown value denies. A process may hold several copies of this module. */
export function isDenied(thrown: unknown): boolean {
	return (
		thrown instanceof RealtimeDenied ||
		(thrown instanceof Error && thrown.name === 'RealtimeDenied')
	);
}
