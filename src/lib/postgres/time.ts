/** How long, in milliseconds, opening a session and each of its statements may take. */
const SESSION_TIMEOUT_MS = 5_000;

/** How long, in milliseconds, a migration may take: others may be at it first. */
export const SCRIPT_TIMEOUT_MS = 60_000;

/** @returns what `answer` gives, or rejects when that takes longer than `timeoutMs`. */
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

/** Nobody answered in time. */
export class TimeoutError extends Error {
	override readonly name = 'TimeoutError';
	readonly code = 'TIMEOUT';
}

/** @returns a lifetime in milliseconds that the database can count with: at most about 300 years. */
export function lifetime(ms: number): number {
	return Math.min(ms, 1e13);
}
