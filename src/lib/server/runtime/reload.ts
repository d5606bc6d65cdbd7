import { DEV } from 'esm-env';

/** Something that must be closed when its module is reloaded. */
interface Reloadable {
	/** The load of the server's code that created it: the result of `currentLoad` at that time. */
	readonly load: number;
	/** Ends all streams; their clients come back at once. */
	endStreams(): void;
	close(): void;
}

const ROUTES = Symbol.for('sveltekit-inngest.routes');
const RELOAD = Symbol.for('sveltekit-inngest.reload');
const LOADS = Symbol.for('sveltekit-inngest.loads');
const ENDPOINTS = Symbol.for('sveltekit-inngest.endpoints');

interface DevGlobals {
	/** Endpoints that answer, by the id of their route. */
	[ROUTES]?: Map<string, Set<Reloadable>>;
	/** Called by the Vite plugin when server code has changed. */
	[RELOAD]?: Set<() => void>;
	/** Set by the Vite plugin: counts how often server code was loaded. */
	[LOADS]?: number | undefined;
	/** Counts the endpoints of this process, over all copies of this module. */
	[ENDPOINTS]?: number;
}

const globals = globalThis as DevGlobals;

/** How often the server's code has been loaded, if the Vite plugin counts that. */
export function serverLoad(): number | undefined {
	return globals[LOADS];
}

/**
 * Separates what was created before a reload from what was created after it. Without the plugin, each
 * endpoint counts as a reload.
 */
export function currentLoad(): number {
	return serverLoad() ?? (globals[ENDPOINTS] = (globals[ENDPOINTS] ?? 0) + 1);
}

/**
 * In development, closes endpoints that an earlier load of the same route left behind, with their sockets and
 * their streams, which would otherwise keep using the old code's `authorize`. Called for each request.
 */
export function replaceReloaded(routeId: string | null, endpoint: Reloadable): void {
	// In a production build a route's module is loaded once, and nothing is ever replaced.
	if (routeId === null || !(DEV || globals[LOADS])) return;
	const routes = (globals[ROUTES] ??= new Map());
	const known = routes.get(routeId);
	if (known?.has(endpoint)) return;
	const current = new Set([endpoint]);
	for (const other of known ?? []) {
		if (other.load < endpoint.load) other.close();
		else current.add(other);
	}
	routes.set(routeId, current);
	if (known) return;
	// A stream that ends here comes back to the new code, if there is any, otherwise to the same endpoint.
	(globals[RELOAD] ??= new Set()).add(() => {
		for (const { endStreams } of routes.get(routeId) ?? []) endStreams();
	});
}
