import { getContext, setContext } from 'svelte';
import { RealtimeError } from '../../protocol/errors.js';
import { RealtimeBus } from './bus.js';

const KEY = Symbol('sveltekit-inngest');

/** Provides a bus to the components inside the current one. */
export function provideBus(
	...[props, active]: ConstructorParameters<typeof RealtimeBus>
): RealtimeBus {
	return setContext(KEY, new RealtimeBus(props, active, getContext<RealtimeBus | undefined>(KEY)));
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
		bus = getContext(KEY);
	} catch {
		// Svelte's own error says nothing of a manager.
	}
	if (bus) return bus;
	throw new RealtimeError(
		'NO_MANAGER',
		'getRealtimeBus() requires <RealtimeManager>: call hooks as a component inside initialises, or give them a `bus`.'
	);
}
