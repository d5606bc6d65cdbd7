import { unref } from './runtime.js';
import { isThenable, type Answer } from './thenable.js';

/**
 * Waits for an answer, but not for ever. One that is there at once is passed on at once.
 *
 * @param late Makes the error with which the wait ends after `timeoutMs`; what comes later is dropped.
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
