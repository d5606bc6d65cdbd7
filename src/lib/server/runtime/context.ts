/**
 * Async contexts of Node, loaded without a static import so that the same file bundles for runtimes that lack
 * `node:async_hooks`.
 */
import type { AsyncLocalStorage as Storage, AsyncResource as Resource } from 'node:async_hooks';

interface AsyncHooks {
	AsyncLocalStorage: typeof Storage;
	AsyncResource: typeof Resource;
}

type Run = <T>(fn: () => T) => T;

const direct: Run = (fn) => fn();

function asyncHooks(): AsyncHooks | undefined {
	return typeof process === 'object' && typeof process.getBuiltinModule === 'function'
		? (process.getBuiltinModule('node:async_hooks') as AsyncHooks | undefined)
		: undefined;
}

/** @returns a function that runs a callback in the async context of this call. */
export function captureContext(): Run {
	return (asyncHooks()?.AsyncLocalStorage.snapshot() as Run | undefined) ?? direct;
}

function createDetachedContext(): Run {
	const hooks = asyncHooks();
	if (!hooks) return direct;
	const resource = new hooks.AsyncResource('sveltekit-inngest');
	// A resource carries the stores of its creator as own symbols, and there is no public way to make
	// one without. If a future Node keeps them elsewhere, this context falls back to its creator's.
	for (const key of Object.getOwnPropertySymbols(resource)) {
		if (/kResourceStore|async_context_frame/i.test(key.description ?? '')) {
			Object.defineProperty(resource, key, { value: undefined, writable: true });
		}
	}
	return (fn) => resource.runInAsyncScope(fn);
}

/**
 * Runs a callback in no request's async context. An endpoint module is loaded by the first request that needs
 * it, so even module scope runs inside that request's context. A shared socket created there would show one
 * user's store to the callbacks of all others.
 */
export const detached: Run = createDetachedContext();
