/** The longest time, in milliseconds, that an update waits for a frame; hidden tabs draw none. */
const FRAME_FALLBACK_MS = 100;

/**
 * Calls `done` after `ms` milliseconds. Without a number, it does so with the next frame of the screen, or a
 * moment later if none comes. Returns a function that ends the wait, unless `ms` is 0 and there is none.
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
