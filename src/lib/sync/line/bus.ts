import type { RealtimeBus } from '../../client/bus/bus.js';
import { TOPIC } from '../shared/wire.js';
import { followChannel } from './frames.js';
import type { Line, LineOwner } from './line.js';

/** What sync needs of a bus. */
export type SyncBus = Pick<RealtimeBus, 'subscribe' | 'state' | 'settings' | 'reconnect'>;

/** What a topic of a channel is described by; the server's own schema is what counts. */
const schema = {
	'~standard': {
		version: 1,
		vendor: 'sveltekit-inngest',
		validate: (value: unknown) => ({ value })
	}
} as const;

/** The stream of a bus, shared with the hooks that read it. */
export function useBus(owner: LineOwner, bus: SyncBus): Line {
	const stops = new Map<string, () => void>();
	const isConnected = (channel: string): boolean =>
		bus.state(channel).health.status === 'connected';
	const report = (): void => owner.connected([...stops.keys()].every(isConnected));
	return {
		update(channels) {
			for (const [channel, stop] of stops) {
				if (channels.includes(channel)) continue;
				stop();
				stops.delete(channel);
			}
			for (const name of channels) {
				if (stops.has(name)) continue;
				const unsubscribe = bus.subscribe({ channel: { name, topics: { [TOPIC]: { schema } } } });
				const unfollow = followChannel(bus.state(name), owner, report);
				stops.set(name, () => {
					unfollow();
					unsubscribe();
				});
			}
			report();
		},
		reconnect: () => bus.reconnect(),
		close() {
			for (const stop of stops.values()) stop();
			stops.clear();
		}
	};
}
