import { isWorkerd } from './runtime.js';

/**
 * On Workers what a request has made, such as its stream, may only be used by that request.
 *
 * @returns a function that runs work in the request of this call, whichever request calls it: at once, or
 *   on Workers a moment later.
 */
export function ownRequest(): (work: () => void) => void {
	if (!isWorkerd) return (work) => work();
	const waiting: (() => void)[] = [];
	let wake!: () => void;
	const run = async (): Promise<void> => {
		for (;;) {
			// What waits for a promise goes on in its own request, whoever resolves it.
			await new Promise<void>((resolve) => {
				wake = resolve;
				// Work may bring more work.
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
