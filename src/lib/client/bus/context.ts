import { getContext, setContext } from 'svelte';
import { RealtimeError } from '../../protocol/errors.js';
import type { RealtimeBus } from './bus.js';

const KEY = Symbol('sveltekit-inngest');

/** Provides a bus to the components inside the current one. */
export function provideBus(bus: RealtimeBus): void {
	setContext(KEY, bus);
}

/** The bus of the manager that surrounds the current component, if there is one. */
export function findBus(): RealtimeBus | undefined {
	return getContext<RealtimeBus | undefined>(KEY);
}

/** The context of a component that is mounted with a bus: `render(Panel, { context })`. */
export function busContext(bus: RealtimeBus): Map<symbol, RealtimeBus> {
	return new Map([[KEY, bus]]);
}

/**
 * The bus of the nearest `RealtimeManager` around the component.
 *
 * @throws {RealtimeError} `NO_MANAGER` outside a `RealtimeManager`, or when it is not called while a
 * component initialises.
 * @example
 * ```ts
 * const bus = getRealtimeBus();
 * const names = bus.subscriptions.map(({ channelId }) => channelId);
 * ```
 */
export function getRealtimeBus(): RealtimeBus {
	let bus: RealtimeBus | undefined;
	try {
		bus = findBus();
	} catch {
		// Svelte's own error says nothing about a manager.
	}
	if (bus) return bus;
	throw new RealtimeError(
		'NO_MANAGER',
		'getRealtimeBus() requires <RealtimeManager>: call hooks in one, or pass a bus.'
	);
}
