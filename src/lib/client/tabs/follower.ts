import { compareCursors } from '../../protocol/cursor.js';
import type { HealthPayload } from '../../protocol/health.js';
import { readFrame } from '../transport/frames.js';
import type { ChannelSink } from '../transport/transport.js';
import type { RealtimeResolvedSubscription } from '../types.js';
import type { News } from './messages.js';

/** Follows the leader's stream in one channel, from the tab's own position. */
export interface Follower {
	/**
	 * `connecting`: the leader has not answered; `fresh`: starts as soon as the leader's stream is connected;
	 * `behind`: that stream has passed the tab's position, and the tab catches up with its own stream; `live`:
	 * passes on what arrives.
	 */
	stage: 'connecting' | 'fresh' | 'behind' | 'live';
	/** Something happened on the leader's stream. */
	take(news: Omit<News, 'key'>): void;
}

/**
 * Follows a channel.
 *
 * @param onChange Called when the stage has become `behind` or `live`.
 */
export function follow(
	subscription: RealtimeResolvedSubscription,
	state: ChannelSink,
	onChange: (follower: Follower) => void
): Follower {
	const { channelId, since = '', history } = subscription;
	/** The last health of the leader's stream. */
	let health: HealthPayload;
	/** Position of the leader's stream, before the tab is live. */
	let position = '';

	const follower: Follower = {
		stage: 'connecting',
		take({ at, health: said, frame, unreadable }) {
			if (said) health = said;
			if (follower.stage === 'live') {
				if (said) state.health = said;
				if (frame) state.receive(readFrame(frame, channelId), false);
				if (unreadable) state.receiveUnreadable(...unreadable);
				return;
			}
			const next = at ?? frame?.id;
			if (next && (compareCursors(next, position) ?? 1) > 0) position = next;
			if (follower.stage === 'connecting' && at !== undefined) {
				const isFresh = said && !(state.cursor || since || history);
				follower.stage = isFresh ? 'fresh' : 'behind';
				const stop = state.frames.listen(() => (follower.stage === 'behind' ? catchUp() : stop()));
			}
			if (follower.stage === 'fresh') {
				state.health = health;
				if (health.status === 'connected') {
					state.cursor = position;
					goLive();
				}
			}
			catchUp();
			if (follower.stage === 'behind') onChange(follower);
		}
	};
	state.tell('connecting');
	return follower;

	/** Continues with the leader's stream as soon as the tab has everything that it delivered. */
	function catchUp(): void {
		if (follower.stage !== 'behind') return;
		if ((compareCursors(position, state.cursor || since) ?? 1) > 0) return;
		goLive();
	}

	function goLive(): void {
		follower.stage = 'live';
		onChange(follower);
		state.health = health;
	}
}
