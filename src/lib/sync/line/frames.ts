import type { ChannelState } from '../../client/state/channel.js';
import { TOPIC, type ChangeMessage } from '../shared/wire.js';
import type { LineOwner } from './line.js';

/**
 * Tells what comes by a channel. It is a gap when the channel is connected for the first time: what was read
 * before may be older than its first message.
 *
 * @returns a function that ends it.
 */
export function followChannel(
	state: ChannelState,
	owner: LineOwner,
	changed: () => void
): () => void {
	const { channelId } = state;
	let isKnown = false;
	const look = (): void => {
		if (state.health.status === 'connected' && !isKnown) {
			isKnown = true;
			owner.gap(channelId);
		}
		// Whoever may not read it any more may read other rows now.
		if (isKnown && state.health.fatal) {
			isKnown = false;
			owner.gap(channelId);
		}
		changed();
	};
	const stops = [
		state.healthChanges.listen(look),
		state.frames.listen(({ event, data }) => {
			if (event === 'resync') owner.gap(channelId);
			else if (event === 'message' && data.topic === TOPIC) {
				owner.message(channelId, data.data as ChangeMessage, data.clientEventId);
			}
		})
	];
	look();
	return () => stops.forEach((stop) => stop());
}
