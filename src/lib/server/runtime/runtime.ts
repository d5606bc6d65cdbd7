/** The differences between the runtimes that this package runs on. */

/** Whether this is Cloudflare's runtime, where sockets and timers belong to one request. */
export const isWorkerd =
	typeof navigator === 'object' && navigator.userAgent === 'Cloudflare-Workers';

/** Whether SvelteKit imports this code to analyse or prerender a build: nothing may start then. */
export const isBuild = typeof process === 'object' && !!process.env?.SVELTEKIT_FORK;

/** Calls back once the current burst of input has been handled. */
export const afterInput: (callback: () => void) => void =
	typeof setImmediate === 'function'
		? (callback) => void setImmediate(callback)
		: (callback) => void setTimeout(callback, 0);

/** Keeps a timer from holding the process open, if timers do that here. */
export function unref<T>(timer: T): T {
	(timer as { unref?: () => void }).unref?.();
	return timer;
}
