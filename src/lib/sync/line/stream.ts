import { ChannelState } from '../../client/state/channel.js';
import type { Subscriptions } from '../../client/subscriptions.js';
import { HttpTransport } from '../../client/transport/http.js';
import { watchAnywhere } from '../../client/transport/noPage.js';
import { TOPIC } from '../shared/wire.js';
import { followChannel } from './frames.js';
import type { Line, LineOwner } from './line.js';

interface Followed {
	state: ChannelState;
	stop(): void;
}

/** A stream of its own: loaded where no bus is given. Ended by `close`. */
export function openStream(
	owner: LineOwner,
	options: { endpoint: string; fetch: typeof globalThis.fetch }
): Line {
	const followed = new Map<string, Followed>();
	const report = (): void =>
		owner.connected(
			[...followed.values()].every(({ state }) => state.health.status === 'connected')
		);
	const transport = new HttpTransport(
		{
			state: (channel) =>
				followed.get(channel)?.state ?? new ChannelState(channel, console.error, () => 0),
			report() {},
			hidden() {}
		},
		watchAnywhere
	);
	return {
		update(channels) {
			for (const [channel, { stop }] of followed) {
				if (channels.includes(channel)) continue;
				stop();
				followed.delete(channel);
			}
			for (const channel of channels) {
				if (followed.has(channel)) continue;
				const state = new ChannelState(channel, console.error, () => 0);
				followed.set(channel, { state, stop: followChannel(state, owner, report) });
			}
			const subscriptions: Subscriptions = new Map(
				channels.map((channelId) => [channelId, { channelId, topics: [TOPIC] }])
			);
			transport.update({ ...options, subscriptions });
		},
		reconnect: () => transport.reconnect(),
		close() {
			transport.close();
			for (const { stop } of followed.values()) stop();
			followed.clear();
		}
	};
}
