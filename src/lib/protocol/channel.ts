/**
 * Channels of both SDK generations, described by shape: `@inngest/realtime` 0.4 (a definition is
 * always a function, a topic has `getSchema()`) and `inngest/realtime` of inngest 4 (a static channel
 * is an object, a topic is `{ schema }`). Nothing of either SDK is imported at run time.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec';

/** A topic of either generation. */
export type TopicDefinition =
	{ name: string; getSchema(): StandardSchemaV1 | undefined } | { schema: StandardSchemaV1 };

/** Topics of a channel, by name. */
export type TopicDefinitions = Record<string, TopicDefinition>;

/** A channel that has its final name. */
export interface ChannelInstance {
	name: string;
	topics: TopicDefinitions;
}

/** A channel definition, called with its parameters for an instance. */
export interface ChannelBuilder {
	// Parameters are contravariant: `never` admits a builder with any parameter list.
	(...args: never[]): { name: string };
	topics: TopicDefinitions;
}

/** Everything accepted where a channel is asked for. */
export type ChannelLike = ChannelInstance | ChannelBuilder;

/**
 * Parameters of a channel builder: its only argument as it is, or its arguments as a list. A channel
 * without parameters takes none.
 */
export type ChannelParams<TChannel extends ChannelLike> = TChannel extends (
	...args: infer TArgs extends readonly unknown[]
) => unknown
	? TArgs extends readonly []
		? undefined
		: TArgs extends readonly [infer TOnly]
			? TOnly | readonly [TOnly]
			: Readonly<TArgs>
	: undefined;

/** Name and topics of a channel, read from whichever generation it is of. */
export interface ResolvedChannel {
	name: string;
	/** Names of the defined topics, sorted; empty for `typeOnlyChannel`, which lists none. */
	topics: string[];
	definitions: TopicDefinitions;
}

/**
 * The name and topics of a channel.
 *
 * @param channel A channel or a channel definition of either SDK generation.
 * @param params A builder's only argument, or a list of its arguments.
 * @throws {TypeError} when `channel` is neither, or its builder does not give a name.
 */
export function resolveChannel(channel: ChannelLike, params?: unknown): ResolvedChannel {
	const name = channelName(channel, params);
	if (typeof name !== 'string' || name === '') {
		throw new TypeError(
			`Neither channel() of "@inngest/realtime" nor realtime.channel() of "inngest": its name is ${String(name)}.`
		);
	}
	return { name, topics: Object.keys(channel.topics).sort(), definitions: channel.topics };
}

function channelName(channel: ChannelLike, params: unknown): unknown {
	if (typeof channel === 'function') {
		const args = Array.isArray(params) ? params : params === undefined ? [] : [params];
		return (channel as unknown as (...args: unknown[]) => { name: string })(...args).name;
	}
	if (typeof channel?.name === 'string' || !channel) return channel?.name;
	// `typeOnlyChannel` answers every unknown property, `name` too, with a topic function. The only way
	// to its id is the definition that `addTopic` returns; what that adds is read by nobody.
	const { addTopic } = channel as { addTopic?: (topic: { name: string }) => () => ChannelInstance };
	return addTopic?.({ name: '' })().name;
}

/** The schema a topic was defined with, if any. */
export function topicSchema(topic: TopicDefinition | undefined): StandardSchemaV1 | undefined {
	if (!topic) return undefined;
	return 'getSchema' in topic ? topic.getSchema() : topic.schema;
}
