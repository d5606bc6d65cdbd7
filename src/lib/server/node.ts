/**
 * Everything that needs Node, reached without a static import so that the same file bundles for
 * runtimes that have neither `ws` nor Node's built-in modules.
 */
import type { AsyncLocalStorage as Storage, AsyncResource as Resource } from 'node:async_hooks';

interface AsyncHooks {
	AsyncLocalStorage: typeof Storage;
	AsyncResource: typeof Resource;
}

type Run = <T>(fn: () => T) => T;

const direct: Run = (fn) => fn();

/** Whether this is Cloudflare's runtime, where sockets and timers belong to one request. */
export const isWorkerd =
	typeof navigator === 'object' && navigator.userAgent === 'Cloudflare-Workers';

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
 * Runs a callback in no request's async context. An endpoint module is loaded by the first request
 * that needs it, so even module scope is inside of that request's context; a shared socket created
 * there would show one user's store to the callbacks of all others.
 */
export const detached: Run = createDetachedContext();

/** What is to be done when the process is asked to stop. */
interface ShutdownHandler {
	/** On the signal: SvelteKit's Node adapter waits for open streams before it says it has closed. */
	endStreams(): void;
	/** When the server has closed. */
	close(): void;
}

const shutdownHandlers = new Set<ShutdownHandler>();

const onSignal = (signal: NodeJS.Signals): void => {
	for (const handler of shutdownHandlers) handler.endStreams();
	// A listener takes away a signal's default, which is to exit. Where nobody else listens, nobody
	// else will exit either.
	if (process.listenerCount(signal) > 1) return;
	toggleListeners('off');
	process.kill(process.pid, signal);
};

const onServerClosed = (): void => {
	for (const handler of [...shutdownHandlers]) handler.close();
};

function toggleListeners(toggle: 'on' | 'off'): void {
	process[toggle]('SIGTERM', onSignal);
	process[toggle]('SIGINT', onSignal);
	process[toggle]('sveltekit:shutdown', onServerClosed);
}

/** Registers for the end of the process, on Node. @returns a function that takes it back. */
export function onShutdown(handler: ShutdownHandler): () => void {
	if (isWorkerd || typeof process !== 'object' || typeof process.on !== 'function') {
		return () => {};
	}
	if (shutdownHandlers.size === 0) toggleListeners('on');
	shutdownHandlers.add(handler);
	return () => {
		if (shutdownHandlers.delete(handler) && shutdownHandlers.size === 0) toggleListeners('off');
	};
}

/** Calls back once the current burst of input has been handled. */
export const afterInput: (callback: () => void) => void =
	typeof setImmediate === 'function'
		? (callback) => void setImmediate(callback)
		: (callback) => void setTimeout(callback, 0);

/** Keeps a timer from holding the process open, where timers do that. */
export function unref<T>(timer: T): T {
	(timer as { unref?: () => void }).unref?.();
	return timer;
}
