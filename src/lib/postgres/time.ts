/** Time limit, in milliseconds, for opening a session and for each of its statements. */
const SESSION_TIMEOUT_MS = 5_000;

/** Time limit, in milliseconds, of a migration: others may have to finish first. */
export const SCRIPT_TIMEOUT_MS = 60_000;

/** @returns the result of `answer`. Rejects if that takes longer than `timeoutMs`. */
export function inTime<T>(
	answer: PromiseLike<T>,
	timeoutMs: number | undefined = SESSION_TIMEOUT_MS
): Promise<T> {
	return new Promise<T>((resolve, reject) => {
		const timer = setTimeout(
			() => reject(new TimeoutError(`No answer within ${timeoutMs} ms.`)),
			timeoutMs
		);
		timer.unref?.();
		answer.then(
			(value) => {
				clearTimeout(timer);
				resolve(value);
			},
			(error: unknown) => {
				clearTimeout(timer);
				reject(error as Error);
			}
		);
	});
}

/** There was no answer in time. */
export class TimeoutError extends Error {
	override readonly name = 'TimeoutError';
	readonly code = 'TIMEOUT';
}

/** @returns a lifetime in milliseconds that the database can compute with: at most about 300 years. */
export function lifetime(ms: number): number {
	return Math.min(ms, 1e13);
}
