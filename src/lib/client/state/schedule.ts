/** The longest time that an update waits for a frame, in milliseconds; hidden tabs draw none. */
const FRAME_FALLBACK_MS = 100;

/**
 * Calls `done` after `ms` milliseconds; without a number with the next frame of the screen, or a moment
 * later where none comes. Returns a function that ends the wait; there is nothing to wait for when `ms`
 * is 0.
 */
export function wait(ms: number | undefined, done: () => void): (() => void) | undefined {
	if (ms === 0) return undefined;
	const frame = ms === undefined ? globalThis.requestAnimationFrame?.(done) : undefined;
	const timer = setTimeout(done, ms ?? FRAME_FALLBACK_MS);
	return () => {
		if (frame !== undefined) cancelAnimationFrame(frame);
		clearTimeout(timer);
	};
}
