/** Types of topics and payloads, inferred from a channel of either SDK generation. */
/** @ts-ignore Optional peer: if it is not installed, no channel of its kind exists either. */
import type { Realtime as Legacy } from '@inngest/realtime';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { ChannelLike } from './channel.js';

/** A value after JSON: a `Date` becomes a string, functions are dropped. */
export type Jsonify<T> = unknown extends T
	? T
	: T extends { toJSON(): infer TJson }
		? Jsonify<TJson>
		: T extends string | number | boolean | null
			? T
			: T extends undefined | symbol | bigint | ((...args: never[]) => unknown)
				? never
				: T extends readonly unknown[]
					? { [K in keyof T]: JsonItem<T[K]> }
					: T extends object
						? Flat<
								{ [K in keyof T as JsonKey<K, T[K], false>]: Jsonify<T[K]> } & {
									[K in keyof T as JsonKey<K, T[K], true>]?: Jsonify<Exclude<T[K], undefined>>;
								}
							>
						: never;

/** Values that JSON cannot express become `null` in a list. */
type JsonItem<T> = unknown extends T
	? T
	: T extends undefined | symbol | ((...args: never[]) => unknown)
		? null
		: Jsonify<T>;

type Flat<T> = { [K in keyof T]: T[K] } & {};

/** A key whose value may be undefined may be missing. A key whose value is always undefined is missing. */
type JsonKey<K, TValue, TMayMiss> = K extends symbol
	? never
	: unknown extends TValue
		? TMayMiss extends true
			? never
			: K
		: [Jsonify<Exclude<TValue, undefined>>] extends [never]
			? never
			: (undefined extends TValue ? true : false) extends TMayMiss
				? K
				: never;

/** Names of the topics of a channel. */
export type TopicKey<TChannel extends ChannelLike> = keyof TChannel['topics'] & string;

type TopicOutput<TTopic> = TTopic extends { schema: infer TSchema extends StandardSchemaV1 }
	? StandardSchemaV1.InferOutput<TSchema>
	: TTopic extends Legacy.Topic.Definition<string, unknown, infer TSubscribe>
		? TSubscribe
		: unknown;

/** The data that a subscriber reads from a topic: the output of its schema, after JSON. */
export type TopicData<
	TChannel extends ChannelLike,
	TTopic extends TopicKey<TChannel> = TopicKey<TChannel>
> = Jsonify<TopicOutput<TChannel['topics'][TTopic]>>;

/** Kinds of messages that a topic carries. */
export type MessageKind = 'data' | 'datastream-start' | 'chunk' | 'datastream-end' | 'run' | 'step';

/** One message as it is sent. */
export interface RealtimeTopicEnvelope<TTopic extends string = string, TData = unknown> {
	channel: string;
	topic: TTopic;
	/** The stream's id for `datastream-start` and `datastream-end`, a piece of text for `chunk`. */
	data: TData;
	runId?: string;
	fnId?: string;
	envId?: string;
	/** ISO 8601. */
	createdAt: string;
	kind: MessageKind;
	/** Set on the three kinds of a data stream. */
	streamId?: string;
	/** Set on messages that a subscription's `history` asked for: they were published before it started. */
	history?: true;
	/** Id of the page's event, if its handler emitted the message. */
	clientEventId?: string;
}

/**
 * A message and its position in its channel. The position is unique there, and a later read can start from
 * it.
 */
export type Positioned<TMessage> = TMessage & { cursor: string };

/** A message of one topic of a channel, with its payload typed. */
export type RealtimeTopicMessage<
	TChannel extends ChannelLike,
	TTopic extends TopicKey<TChannel> = TopicKey<TChannel>
> = { [K in TTopic]: RealtimeTopicEnvelope<K, TopicData<TChannel, K>> }[TTopic];
