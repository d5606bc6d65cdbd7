/** @returns a delay in milliseconds: exponential from `minMs` to `maxMs`, with full jitter. */
export function backoffMs(attempt: number, minMs: number, maxMs: number): number {
	return Math.random() * Math.min(maxMs, minMs * 2 ** Math.min(attempt, 30));
}

/** @returns about `ms`: what began together does not stay together. */
export function jitterMs(ms: number): number {
	return ms * (0.9 + Math.random() * 0.2);
}
