/**
 * A random part of an upper bound that doubles with each failure, so that clients that failed together do not
 * come back in one wave.
 *
 * @param failures How many attempts failed before.
 * @param minMs The first upper bound, in milliseconds.
 * @param maxMs The highest upper bound, in milliseconds.
 * @returns milliseconds to wait.
 */
export function backoffMs(failures: number, minMs: number, maxMs: number): number {
	return Math.random() * Math.min(maxMs, Math.max(1, minMs) * 2 ** failures);
}

/** @returns about `ms`, so that timers that started together spread out. */
export function jitterMs(ms: number): number {
	return ms * (0.9 + Math.random() * 0.2);
}
