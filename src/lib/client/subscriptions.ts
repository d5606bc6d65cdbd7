import { resolveChannel } from '../protocol/channel.js';
import { RUN_TOPIC } from '../protocol/constants.js';
import { RealtimeError } from '../protocol/errors.js';
import type { RealtimeResolvedSubscription, RealtimeSubscription } from './types.js';

/** Subscriptions by the name of their channel. */
export type Subscriptions = ReadonlyMap<string, RealtimeResolvedSubscription>;

/**
 * The channels of a manager by name, their topics sorted and without duplicates.
 *
 * @throws {RealtimeError} `DUPLICATE_CHANNEL` when two subscriptions resolve to the same channel,
 * `INVALID_OPTION` when this is not a list, or one of them is invalid.
 */
export function resolveSubscriptions(
	subscriptions: readonly RealtimeSubscription[]
): Subscriptions {
	if (!Array.isArray(subscriptions)) {
		throw new RealtimeError(
			'INVALID_OPTION',
			`The subscriptions of a <RealtimeManager> must be a list, not ${subscriptions}.`
		);
	}
	const resolved = new Map<string, RealtimeResolvedSubscription>();
	for (const subscription of subscriptions.map(resolveSubscription)) {
		const { channelId } = subscription;
		if (resolved.has(channelId)) throw duplicate(channelId, 'twice');
		resolved.set(channelId, subscription);
	}
	return resolved;
}

/** @throws {RealtimeError} `INVALID_OPTION` when the subscription is invalid. */
export function resolveSubscription({
	channel,
	channelParams,
	topics,
	params,
	run,
	since,
	history
}: RealtimeSubscription): RealtimeResolvedSubscription {
	const { name: channelId, topics: defined } = resolveChannel(channel, channelParams);
	const all = new Set(topics ?? defined);
	if (run) all.add(RUN_TOPIC);
	if (all.size === 0) {
		throw new RealtimeError(
			'INVALID_OPTION',
			`Realtime channel "${channelId}" is subscribed without topics: list a typeOnlyChannel's.`
		);
	}
	return {
		channelId,
		topics: [...all].sort(),
		...(params && { params: { ...params } }),
		since: since || undefined,
		history: history || undefined
	};
}

/** The error for a channel that has two subscriptions; `how` completes "is subscribed". */
export function duplicate(channelId: string, how: string): RealtimeError {
	return new RealtimeError(
		'DUPLICATE_CHANNEL',
		`Realtime channel "${channelId}" is subscribed ${how}. Merge the subscriptions into one.`
	);
}

/**
 * What subscriptions request from the endpoint, as a string to compare that does not depend on their order.
 * It leaves out where they start, because that matters only once.
 */
export function identify(...subscriptions: RealtimeResolvedSubscription[]): string {
	const each = subscriptions.map(({ channelId, topics, params }) =>
		JSON.stringify([channelId, topics, params])
	);
	return each.sort().join();
}
