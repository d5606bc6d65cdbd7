// The longest delay of a timer, in milliseconds.
const MAX_WAIT_MS = 2 ** 31 - 1;

/**
 * Calls `action` at a time given in milliseconds since the epoch, or soon if that has passed. The
 * timer does not keep the process alive.
 *
 * @returns a function that cancels it.
 */
export function callAt(timeMs: number, action: () => void): () => void {
	let timer: NodeJS.Timeout;
	const wait = (): void => {
		const waitMs = Math.max(0, timeMs - Date.now());
		const next = waitMs > MAX_WAIT_MS ? wait : action;
		timer = setTimeout(next, Math.min(waitMs, MAX_WAIT_MS)).unref();
	};
	wait();
	return () => clearTimeout(timer);
}
