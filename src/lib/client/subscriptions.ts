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
 * `INVALID_OPTION` when this is not a list, or one of them is invalid.
 */
export function resolveSubscriptions(
	subscriptions: readonly RealtimeSubscription[]
): Subscriptions {
	if (!Array.isArray(subscriptions)) {
		throw invalid(
			`The subscriptions of a <RealtimeManager> must be a list such as [{ channel: demoChannel }]. They are ${String(subscriptions)}.`
		);
	}
	const resolved = new Map<string, RealtimeResolvedSubscription>();
	for (const subscription of subscriptions.map(resolveSubscription)) {
		const { channelId } = subscription;
		if (resolved.has(channelId)) {
			throw new RealtimeError(
				'DUPLICATE_CHANNEL',
				`Realtime channel "${channelId}" is subscribed twice. Merge the subscriptions into one.`
			);
		}
		resolved.set(channelId, subscription);
	}
	return sortSubscriptions(resolved);
}

/** @throws {RealtimeError} `INVALID_OPTION` when the subscription is invalid. */
export function resolveSubscription(
	subscription: RealtimeSubscription
): RealtimeResolvedSubscription {
	if (!subscription?.channel) {
		throw invalid('A realtime subscription has no channel. Write it as { channel: demoChannel }.');
	}
	const { channel, channelParams, topics, params, run, since, history } = subscription;
	const { name: channelId, topics: defined } = resolveChannel(channel, channelParams);
	if (topics && !Array.isArray(topics)) {
		throw invalid(
			`The topics of realtime channel "${channelId}" must be a list such as ['message'].`
		);
	}
	const all = new Set(topics ?? defined);
	if (run) all.add(RUN_TOPIC);
	if (all.size === 0) {
		throw invalid(
			`Realtime channel "${channelId}" is subscribed without topics. A typeOnlyChannel() needs them listed.`
		);
	}
	if (since && history) {
		throw invalid(
			`Realtime channel "${channelId}" is subscribed with both \`since\` and \`history\`. Choose one place to start.`
		);
	}
	return {
		channelId,
		topics: [...all].sort(),
		...(params && { params: Object.fromEntries(Object.entries(params).sort()) }),
		...(since && { since }),
		...(history && { history })
	};
}

/** In one order, whatever the order in which they were listed. */
export function sortSubscriptions(subscriptions: Subscriptions): Subscriptions {
	return new Map([...subscriptions].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** What a subscription asks for, as a text. Where it starts is no part of it: that matters only once. */
export function identify({ channelId, topics, params }: RealtimeResolvedSubscription): string {
	return JSON.stringify([channelId, topics, params]);
}

/** Whether two subscriptions ask the endpoint for the same. */
export function isSame(a: RealtimeResolvedSubscription, b: RealtimeResolvedSubscription): boolean {
	return identify(a) === identify(b);
}

function invalid(message: string): RealtimeError {
	return new RealtimeError('INVALID_OPTION', message);
}
