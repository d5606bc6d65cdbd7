import { DEV } from 'esm-env';

/** What a module reload must not leave behind. */
interface Reloadable {
	/** Ends all streams; their clients come back at once. */
	endStreams(): void;
	close(): void;
}

const INSTANCES = Symbol.for('sveltekit-inngest.instances');
const RELOAD = Symbol.for('sveltekit-inngest.reload');
const PLUGIN = Symbol.for('sveltekit-inngest.dev');

interface DevGlobals {
	[INSTANCES]?: Map<string, Reloadable>;
	/** Called by the Vite plugin when server code has changed. */
	[RELOAD]?: Set<() => void>;
	/** Set by the Vite plugin. */
	[PLUGIN]?: boolean;
}

const globals = globalThis as DevGlobals;

/** In a production build a route's module is loaded once, and nothing is ever replaced. */
const isDev = (): boolean => DEV || globals[PLUGIN] === true;

/**
 * In development, closes the endpoint that an earlier load of the same route left behind: its socket,
 * and its streams, which would go on with the old code's `authorize`. Called with each request.
 */
export function replaceReloaded(routeId: string | null, instance: Reloadable): void {
	if (routeId === null || !isDev()) return;
	const instances = (globals[INSTANCES] ??= new Map());
	const previous = instances.get(routeId);
	if (previous === instance) return;
	instances.set(routeId, instance);
	previous?.close();
	const reload = (globals[RELOAD] ??= new Set());
	// A stream ended here comes back to the new code, if there is any, else to this instance.
	if (!previous) reload.add(() => instances.get(routeId)?.endStreams());
}
