/**
 * A random part of a ceiling that doubles with each failure, so that what failed together does not come
 * back in one wave.
 *
 * @param failures How many attempts failed before.
 * @param minMs The first ceiling, in milliseconds.
 * @param maxMs The highest, in milliseconds.
 * @returns milliseconds to wait.
 */
export function backoffMs(failures: number, minMs: number, maxMs: number): number {
	return Math.random() * Math.min(maxMs, Math.max(1, minMs) * 2 ** failures);
}

/** @returns about `ms`: what began together does not stay together. */
export function jitterMs(ms: number): number {
	return ms * (0.9 + Math.random() * 0.2);
}
