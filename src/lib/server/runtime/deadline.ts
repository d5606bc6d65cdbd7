import { unref } from './runtime.js';
import { isThenable, type Answer } from './thenable.js';

/**
 * Waits for an answer, but not for ever. An immediate answer is returned at once.
 *
 * @param late Creates the error that ends the wait after `timeoutMs`; a later answer is dropped.
 */
export function inTime<T>(answer: Answer<T>, timeoutMs: number, late: () => Error): T | Promise<T> {
	if (!isThenable(answer)) return answer;
	return new Promise<T>((resolve, reject) => {
		const timer = unref(setTimeout(() => reject(late()), timeoutMs));
		Promise.resolve(answer as PromiseLike<T>)
			.then(resolve, reject)
			.finally(() => clearTimeout(timer));
	});
}
