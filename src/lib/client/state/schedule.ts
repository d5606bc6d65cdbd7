/** Most milliseconds that an update waits for a frame; hidden tabs draw none. */
const FRAME_FALLBACK_MS = 100;

/**
 * Calls `done` after `ms` milliseconds; without a number with the next frame of the screen, or a while
 * later where none comes. Returns the end of the wait; there is none to wait for when `ms` is 0.
 */
export function wait(ms: number | undefined, done: () => void): (() => void) | undefined {
	if (ms === 0) return;
	const frame = ms === undefined && globalThis.requestAnimationFrame?.(done);
	const timer = setTimeout(done, ms ?? FRAME_FALLBACK_MS);
	return () => {
		if (frame) cancelAnimationFrame(frame);
		clearTimeout(timer);
	};
}
