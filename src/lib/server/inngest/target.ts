/** @ts-ignore Only inngest 4 has it: with inngest 3 no topic of its kind exists either. */
import type { Realtime as Current } from 'inngest/realtime';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { RealtimeError } from '../../protocol/errors.js';
import {
	resolveChannel,
	topicSchema,
	type ChannelLike,
	type TopicDefinition
} from '../../protocol/channel.js';

/** A topic of a channel of inngest 4: `channel.topic`, or `channel(params).topic`. */
export interface TopicRef {
	channel: string;
	topic: string;
	config: { schema: StandardSchemaV1 };
}

/** A topic of a channel of `@inngest/realtime`: `channel().topic`. */
export type TopicFunction = (
	data: never
) => Promise<{ channel: string; topic: string; data: unknown }>;

/** What can be published to. */
export type PublishTarget = TopicRef | TopicFunction;

/** What is published to a topic: the input of its schema. */
export type PublishData<TTarget extends PublishTarget> = TTarget extends (
	data: infer TData
) => unknown
	? TData
	: // Only the name of inngest's own type tells the payload; nothing in its shape does.
		TTarget extends Current.TopicRef<infer TData>
		? TData
		: unknown;

/** Where something is published to, and what it has to match there. */
export interface Address {
	channel: string;
	topic: string;
	schema: StandardSchemaV1 | undefined;
	/** The topic's definition, where it is known: what tells which registry entry it is of. */
	definition: TopicDefinition | undefined;
}

/**
 * The address of a topic; of a topic function, the schema is found if its channel is registered.
 *
 * @throws {RealtimeError} `INVALID_OPTION` for what is not a topic of a channel.
 */
export async function addressOf(
	target: PublishTarget,
	data: unknown,
	registered: readonly ChannelLike[]
): Promise<Address> {
	if (typeof target !== 'function') {
		checkTopic(target);
		const { channel, topic, config } = target;
		const known = registered.map(({ topics }) => topics[topic]);
		// Channels may share a schema. Where inngest hands on the definition itself, that tells more.
		const definition =
			known.find((candidate) => candidate === config) ??
			known.find(
				(candidate) => candidate && 'schema' in candidate && candidate.schema === config?.schema
			);
		return { channel, topic, schema: config?.schema, definition };
	}
	const { called, asked } = callWatched(target, data, registered);
	const address: unknown = await called;
	checkTopic(address);
	const { channel, topic } = address;
	const candidates = registered.filter(({ topics }) => Object.hasOwn(topics, topic));
	const named = candidates.find((candidate) => isNamed(candidate, channel));
	const definition = asked ?? named?.topics[topic];
	// On the only channel that has a topic of that name it is likely the one; no more is known of it.
	const likely = candidates.length === 1 ? candidates[0]?.topics[topic] : undefined;
	return { channel, topic, schema: topicSchema(definition ?? likely), definition };
}

function checkTopic(value: unknown): asserts value is { channel: string; topic: string } {
	const { channel, topic } = (value ?? {}) as Partial<TopicRef>;
	if (typeof channel === 'string' && typeof topic === 'string') return;
	throw new RealtimeError(
		'INVALID_OPTION',
		'This is not a topic of a channel: pass `myChannel().myTopic` of @inngest/realtime, or `myChannel.myTopic` of inngest 4.'
	);
}

/**
 * A topic function does not show which topic it is of, and channels may share names of topics. But it
 * asks its definition for the schema as soon as it is called, so the definitions are watched meanwhile.
 *
 * @returns what the function answered, and the definition that it asked.
 */
function callWatched(
	target: TopicFunction,
	data: unknown,
	registered: readonly ChannelLike[]
): { called: ReturnType<TopicFunction>; asked: TopicDefinition | undefined } {
	let asked: TopicDefinition | undefined;
	const definitions = registered
		.flatMap(({ topics }) => Object.values(topics))
		.filter((definition) => 'getSchema' in definition);
	const restore = definitions.map((definition) => {
		const own = Object.getOwnPropertyDescriptor(definition, 'getSchema');
		// Without a schema the function does not validate, which is done here, and better.
		const getSchema = (): undefined => void (asked = definition);
		Reflect.defineProperty(definition, 'getSchema', { value: getSchema, configurable: true });
		return (): void => {
			Reflect.deleteProperty(definition, 'getSchema');
			if (own) Reflect.defineProperty(definition, 'getSchema', own);
		};
	});
	try {
		return { called: target(data as never), asked };
	} finally {
		for (const put of restore) put();
	}
}

function isNamed(candidate: ChannelLike, channel: string): boolean {
	try {
		return resolveChannel(candidate).name === channel;
	} catch {
		return false;
	}
}
