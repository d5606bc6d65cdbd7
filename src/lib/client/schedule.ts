/** Most milliseconds that an update waits for a frame; hidden tabs draw none. */
const FRAME_FALLBACK_MS = 100;

/**
 * `run`, at most once per frame of the screen or per `intervalMs`: the first call at once, what
 * follows with the next frame. The returned function asks for a run; its `cancel` ends a waiting one.
 */
export function throttle(
	run: () => void,
	intervalMs: () => number | undefined
): { (): void; cancel(): void } {
	let pause: (() => void) | undefined;
	let again = false;
	const ask = () => {
		again = !!pause;
		if (again) return;
		pause = wait(intervalMs(), () => {
			ask.cancel();
			if (again) ask();
		});
		run();
	};
	ask.cancel = () => {
		pause?.();
		pause = undefined;
	};
	return ask;
}

/** Calls back after a time; without one with the next frame, or a while later where none comes. */
function wait(ms: number | undefined, done: () => void): (() => void) | undefined {
	if (ms === 0) return;
	const frame = ms === undefined && globalThis.requestAnimationFrame?.(done);
	const timer = setTimeout(done, ms ?? FRAME_FALLBACK_MS);
	return () => {
		if (frame) cancelAnimationFrame(frame);
		clearTimeout(timer);
	};
}
