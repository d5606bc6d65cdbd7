import { isWorkerd } from './runtime.js';

/**
 * On Workers, only the request that created an object, such as its stream, may use it.
 *
 * @returns a function that runs work in the request of this call, even if another request calls it: at once,
 *   or on Workers a moment later.
 */
export function ownRequest(): (work: () => void) => void {
	if (!isWorkerd) return (work) => work();
	const waiting: (() => void)[] = [];
	let wake!: () => void;
	const run = async (): Promise<void> => {
		for (;;) {
			// Code that awaits a promise continues in its own request, even if another one resolves it.
			await new Promise<void>((resolve) => {
				wake = resolve;
				// Work may add more work.
				if (waiting.length > 0) resolve();
			});
			for (const work of waiting.splice(0)) work();
		}
	};
	void run();
	return (work) => {
		waiting.push(work);
		wake();
	};
}
