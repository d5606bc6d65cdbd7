import { resolveChannel } from '../protocol/channel.js';
import { RUN_TOPIC } from '../protocol/constants.js';
import { RealtimeError } from '../protocol/errors.js';
import type { RealtimeResolvedSubscription, RealtimeSubscription } from './types.js';

/** Subscriptions by the name of their channel. */
export type Subscriptions = ReadonlyMap<string, RealtimeResolvedSubscription>;

/**
 * The channels of a manager by name: names and topics sorted, topics without duplicates, so that two
 * lists that mean the same are the same.
 *
 * @throws {RealtimeError} `DUPLICATE_CHANNEL` when two subscriptions resolve to the same channel,
 * `INVALID_OPTION` when one has no topics.
 */
export function resolveSubscriptions(
	subscriptions: readonly RealtimeSubscription[]
): Subscriptions {
	const resolved = new Map<string, RealtimeResolvedSubscription>();
	for (const { channel, channelParams, topics, params, run } of subscriptions) {
		const { name: channelId, topics: defined } = resolveChannel(channel, channelParams);
		if (resolved.has(channelId)) {
			throw new RealtimeError(
				'DUPLICATE_CHANNEL',
				`Realtime channel "${channelId}" is subscribed twice. Merge the subscriptions into one.`
			);
		}
		const all = new Set(topics ?? defined);
		if (run) all.add(RUN_TOPIC);
		if (!all.size) {
			throw new RealtimeError(
				'INVALID_OPTION',
				`Realtime channel "${channelId}" is subscribed without topics. A typeOnlyChannel() needs them listed.`
			);
		}
		resolved.set(channelId, {
			channelId,
			topics: [...all].sort(),
			...(params && { params: { ...params } })
		});
	}
	return new Map([...resolved].sort());
}

/** Whether two values ask the endpoint for the same. */
export function isSame(a: unknown, b: unknown): boolean {
	return JSON.stringify(a) === JSON.stringify(b);
}
