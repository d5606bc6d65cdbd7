import { ChannelState } from '../../client/state/channel.js';
import type { Subscriptions } from '../../client/subscriptions.js';
import { HttpTransport } from '../../client/transport/http.js';
import { watchAnywhere } from '../../client/transport/noPage.js';
import { MAX_SUBSCRIPTIONS } from '../../protocol/constants.js';
import { TOPIC } from '../shared/wire.js';
import { followChannel } from './frames.js';
import type { Line, LineOwner } from './line.js';

interface Followed {
	state: ChannelState;
	stop(): void;
}

/**
 * A stream of its own, or several where there are more channels than one request may name: loaded where no bus is
 * given. Ended by `close`.
 */
export function openStream(
	owner: LineOwner,
	options: { endpoint: string; fetch: typeof globalThis.fetch }
): Line {
	const followed = new Map<string, Followed>();
	const report = (): void =>
		owner.connected(
			[...followed.values()].every(({ state }) => state.health.status === 'connected')
		);
	const transports: HttpTransport[] = [];
	const connect = (): HttpTransport =>
		new HttpTransport(
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
			for (let from = 0, n = 0; from < channels.length; from += MAX_SUBSCRIPTIONS, n++) {
				const some = channels.slice(from, from + MAX_SUBSCRIPTIONS);
				const subscriptions: Subscriptions = new Map(
					some.map((channelId) => [channelId, { channelId, topics: [TOPIC] }])
				);
				(transports[n] ??= connect()).update({ ...options, subscriptions });
			}
			const count = Math.ceil(channels.length / MAX_SUBSCRIPTIONS);
			for (const transport of transports.splice(count)) transport.close();
			report();
		},
		reconnect() {
			for (const transport of transports) transport.reconnect();
		},
		close() {
			for (const transport of transports) transport.close();
			for (const { stop } of followed.values()) stop();
			followed.clear();
		}
	};
}
