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

/** What a message can be published to. */
export type PublishTarget = TopicRef | TopicFunction;

/** What is published to a topic: the input of its schema. */
export type PublishData<TTarget extends PublishTarget> = TTarget extends (
	data: infer TData
) => unknown
	? TData
	: // Only inngest's named type carries the payload; the shape does not show it.
		TTarget extends Current.TopicRef<infer TData>
		? TData
		: unknown;

/** Where a message goes, and the schema it must match. */
export interface Address {
	channel: string;
	topic: string;
	schema: StandardSchemaV1 | undefined;
	/** The topic's definition, if it is known: it identifies the registry entry. */
	definition: TopicDefinition | undefined;
}

/**
 * The address of a topic. The schema of a topic function is found if its channel is registered.
 *
 * @throws {RealtimeError} `INVALID_OPTION` if it is not a topic of a channel.
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
		// Channels may share a schema. If inngest passes on the definition itself, that is more precise.
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
	// If only one channel has a topic of that name, it is likely this one. Nothing more is known.
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
 * A topic function does not show which topic it belongs to, and channels may share topic names. But it asks
 * its definition for the schema as soon as it is called, so we watch the definitions during the call.
 *
 * @returns the result of the function, and the definition that it asked.
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
		// Without a schema the function does not validate. We validate here instead, in the form that readers get.
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
