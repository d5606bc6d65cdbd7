/** An answer that is either available at once or comes later. */
export type Answer<T> = T | PromiseLike<T>;

/** Whether a value must be awaited: a promise of any realm or library, or anything else with `then`. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
	return (
		((typeof value === 'object' && value !== null) || typeof value === 'function') &&
		typeof (value as { then?: unknown }).then === 'function'
	);
}

/**
 * Continues with a value: at once if it is available, later if it is a thenable. So synchronous code is never
 * awaited, and one place decides what has to be awaited.
 *
 * @param fail Called instead of `then` when the thenable rejects; by default the rejection is passed on.
 * @returns what `then` or `fail` returns; a promise only if the value was a thenable.
 */
export function whenReady<T, R>(
	value: Answer<T>,
	then: (value: T) => Answer<R>,
	fail?: (error: unknown) => Answer<R>
): R | Promise<R> {
	if (isThenable(value)) return Promise.resolve(value as PromiseLike<T>).then(then, fail);
	return then(value) as R;
}
