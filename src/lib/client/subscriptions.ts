import { resolveChannel } from '../protocol/channel.js';
import { RUN_TOPIC } from '../protocol/constants.js';
import { RealtimeError } from '../protocol/errors.js';
import type { RealtimeResolvedSubscription, RealtimeSubscription } from './types.js';

/**
 * The channels of a manager by name, with their topics deduplicated and sorted, so that two lists
 * that mean the same are the same.
 *
 * @throws {RealtimeError} `DUPLICATE_CHANNEL` when two subscriptions resolve to the same channel,
 * `INVALID_OPTION` when one has no topics.
 */
export function resolveSubscriptions(
	subscriptions: readonly RealtimeSubscription[]
): Map<string, RealtimeResolvedSubscription> {
	const resolved = new Map<string, RealtimeResolvedSubscription>();
	for (const { channel, channelParams, topics, params, run } of subscriptions) {
		const { name, topics: defined } = resolveChannel(channel, channelParams);
		if (resolved.has(name)) {
			throw new RealtimeError(
				'DUPLICATE_CHANNEL',
				`Two subscriptions resolve to the realtime channel "${name}". Merge them into one, with the topics of both.`
			);
		}
		const all = [...new Set([...(topics ?? defined), ...(run ? [RUN_TOPIC] : [])])].sort();
		if (all.length === 0) {
			throw new RealtimeError(
				'INVALID_OPTION',
				`The subscription of the realtime channel "${name}" has no topics. Name them in its \`topics\`; a typeOnlyChannel() lists none by itself.`
			);
		}
		resolved.set(name, { channelId: name, topics: all, ...(params && { params }) });
	}
	return resolved;
}

/** A text that is the same for two subscriptions that ask the endpoint for the same. */
export function signature({ channelId, topics, params }: RealtimeResolvedSubscription): string {
	return JSON.stringify([channelId, topics, params && Object.entries(params).sort()]);
}
