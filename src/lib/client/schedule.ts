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
	let stop: (() => void) | undefined;
	let again = false;
	const rest = () => {
		stop = undefined;
		if (!again) return;
		again = false;
		start();
	};
	const start = () => {
		const ms = intervalMs();
		if (ms === undefined) stop = nextFrame(rest);
		else if (ms > 0) {
			const timer = setTimeout(rest, ms);
			stop = () => clearTimeout(timer);
		}
		run();
	};
	const ask = () => {
		if (stop) again = true;
		else start();
	};
	ask.cancel = () => {
		stop?.();
		stop = undefined;
		again = false;
	};
	return ask;
}

/** Calls back with the next frame, or after a while where no frame comes. Returns its own end. */
function nextFrame(done: () => void): () => void {
	const finish = () => {
		stop();
		done();
	};
	const frame = globalThis.requestAnimationFrame?.(finish);
	const timer = setTimeout(finish, FRAME_FALLBACK_MS);
	const stop = () => {
		if (frame !== undefined) cancelAnimationFrame(frame);
		clearTimeout(timer);
	};
	return stop;
}
