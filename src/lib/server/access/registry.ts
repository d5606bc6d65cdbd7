import type { RequestEvent } from '@sveltejs/kit';
import { resolveChannel, type ChannelLike, type ResolvedChannel } from '../../protocol/channel.js';
import { RealtimeError } from '../../protocol/errors.js';
import { RUN_TOPIC } from '../../protocol/constants.js';
import type { SubscriptionRequest } from '../../protocol/request.js';
import { Failure, TEXT } from '../failure/failure.js';
import { emitOnlySource } from '../hub/emitOnly.js';
import type { FeedSpec } from '../hub/source.js';
import type { RealtimeChannelConfig } from './options.js';

/** A registry entry that a request asked for. */
export interface Match {
	/** Key of the entry. */
	entry: string;
	config: RealtimeChannelConfig;
	channel: ResolvedChannel;
	/** The topics asked for; without a list, all that the channel defines. */
	topics: string[];
}

/**
 * Finds the entry whose channel has the requested name.
 *
 * @throws {Failure} `channel-resolution` 400 or 500, `topic-validation` 400.
 */
export async function resolveSubscription(
	registry: Readonly<Record<string, RealtimeChannelConfig>>,
	event: RequestEvent,
	subscription: SubscriptionRequest
): Promise<Match> {
	const errors: unknown[] = [];
	const matches: { key: string; config: RealtimeChannelConfig; channel: ResolvedChannel }[] = [];
	await Promise.all(
		Object.entries(registry).map(async ([key, config]) => {
			try {
				const channel = await resolveEntry(config, event, subscription);
				if (channel.name === subscription.channel) matches.push({ key, config, channel });
			} catch (error) {
				errors.push(error);
			}
		})
	);
	const [match] = matches;
	if (!match) {
		// A resolver may throw at names that are not its own; it matters only where nobody else matched.
		if (errors.length === 0) {
			throw new Failure('channel-resolution', 400, 'Requested channel is not available');
		}
		throw new Failure('channel-resolution', 500, TEXT.resolution, { cause: errors[0] });
	}
	if (matches.length > 1) {
		const keys = Object.keys(registry).filter((key) => matches.some((other) => other.key === key));
		throw new Failure('channel-resolution', 500, 'Realtime channel registry is ambiguous', {
			body: { requestedChannel: subscription.channel, matchingRegistryKeys: keys }
		});
	}
	const { key: entry, config, channel } = match;
	return { entry, config, channel, topics: requestedTopics(config, channel, subscription) };
}

async function resolveEntry(
	{ channel, channelParams }: RealtimeChannelConfig,
	event: RequestEvent,
	{ channel: requested, params = {} }: SubscriptionRequest
): Promise<ResolvedChannel> {
	const given: unknown = channelParams;
	return resolveChannel(
		channel,
		typeof given === 'function' ? await given(event, requested, { ...params }) : given
	);
}

function requestedTopics(
	{ run }: RealtimeChannelConfig,
	{ name, topics: defined }: ResolvedChannel,
	{ topics: requested }: SubscriptionRequest
): string[] {
	// A type-only channel lists no topics: any name may be its own.
	const isOpen = defined.length === 0;
	const available = run ? [...defined, RUN_TOPIC] : defined;
	if (!requested) {
		if (available.length > 0) return available;
		throw new Failure(
			'topic-validation',
			400,
			`Channel "${name}" lists no topics; name those to be read`
		);
	}
	const invalid = requested.filter(
		(topic) => !available.includes(topic) && !(isOpen && topic !== RUN_TOPIC)
	);
	if (invalid.length === 0) return requested;
	throw new Failure('topic-validation', 400, `Unknown topics: ${invalid.join(', ')}`, {
		body: { invalidTopics: invalid }
	});
}

/**
 * The feed that serves a channel: it listens to all of its topics, whoever reads which of them. A
 * type-only channel lists none, so that each set of requested topics is a feed of its own.
 */
export function feedSpec(
	{
		entry,
		config,
		channel
	}: Pick<Match, 'entry' | 'channel'> & { config?: RealtimeChannelConfig | undefined },
	requested: readonly string[]
): FeedSpec {
	const topics = new Set(channel.topics.length > 0 ? channel.topics : requested);
	if (config?.run || requested.includes(RUN_TOPIC)) topics.add(RUN_TOPIC);
	return {
		channel: channel.name,
		entry,
		topics: [...topics].sort(),
		definitions: channel.definitions,
		source: config?.source === false ? emitOnlySource : config?.source,
		replay: config?.replay
	};
}

/**
 * The feed of a channel that server code names, and the topics of it that are wanted.
 *
 * @throws {RealtimeError} `UNKNOWN_TOPIC` for a topic that the channel does not define.
 */
export function resolveChannelFeed(
	registry: Readonly<Record<string, RealtimeChannelConfig>>,
	channel: ChannelLike,
	options: { channelParams?: unknown; topics?: readonly string[] | undefined }
): { feed: FeedSpec; topics: string[] } {
	const resolved = resolveChannel(channel, options.channelParams);
	const { name, topics: defined } = resolved;
	const topics = [...(options.topics ?? defined)];
	const unknown = topics.filter(
		(topic) => topic !== RUN_TOPIC && defined.length > 0 && !defined.includes(topic)
	);
	if (unknown.length > 0 || topics.length === 0) {
		throw new RealtimeError(
			'UNKNOWN_TOPIC',
			`Channel "${name}" has no such topics: ${unknown.join(', ') || 'none were named'}.`
		);
	}
	const [entry, config] =
		Object.entries(registry).find(([, { channel }]) => channel.topics === resolved.definitions) ??
		([''] as const);
	return { feed: feedSpec({ entry, config, channel: resolved }, topics), topics };
}
