import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { ChannelLike } from './channel.js';
import type { Jsonify } from './types.js';

/** Who is in a channel. One per id, however many tabs and devices it reads with. */
export interface RealtimeMember<TData = unknown> {
	readonly id: string;
	/** What the server and the member's own pages say about it. */
	readonly data: TData;
	/** Open streams: tabs and devices. */
	readonly streams: number;
	/** When it joined, in milliseconds since the epoch. */
	readonly joinedAt: number;
}

/** Data of a `presence` event. */
export type PresencePayload = { channel: string } & (
	| {
			/** Everybody; comes first, and whenever changes may have been missed. */
			type: 'sync';
			members: readonly RealtimeMember[];
			/** Id of the reader itself, where it is a member. */
			self?: string;
			/** Names the reader's stream in what the page sends. */
			stream: string;
			/** Milliseconds between two signs of life that the page is to send; absent where none are. */
			beatMs?: number;
	  }
	| { type: 'join'; members: readonly RealtimeMember[] }
	| { type: 'leave'; ids: readonly string[] }
	/** Only what changed of each member. */
	| { type: 'update'; members: readonly (Pick<RealtimeMember, 'id'> & Partial<RealtimeMember>)[] }
);

/** What a page sends about its own member. */
export interface PresenceRequest {
	/** The `stream` of its `sync`. */
	stream: string;
	/** New values of its data; absent in a mere sign of life. */
	data?: Record<string, unknown>;
	/** Milliseconds after which the server takes these values back. */
	ttlMs?: number;
	/** Whether values that are not named go back to what the server began with. */
	reset?: boolean;
	/** Whether a `sync` is wanted. */
	sync?: boolean;
}

/** Data of an `ask` event: the server asks a page something. */
export interface AskPayload {
	channel: string;
	topic: string;
	/** Names the question in its answer. */
	id: string;
	data?: unknown;
	/** Set when it needs no answer any more. */
	isOver?: boolean;
}

/** What a page answers to an `ask`: what its handler returned, or why it failed. */
export type AnswerRequest = { id: string } & ({ data: unknown } | { error: string });

/** A channel whose members' data is described by a schema. */
export type WithPresence<
	TChannel extends ChannelLike,
	TSchema extends StandardSchemaV1
> = TChannel & {
	readonly presence: TSchema;
};

/** Data of the members of a channel, as pages read it. */
export type PresenceData<TChannel> = TChannel extends {
	presence: infer TSchema extends StandardSchemaV1;
}
	? Jsonify<StandardSchemaV1.InferOutput<TSchema>>
	: Record<string, unknown>;

/**
 * Describes the data of a channel's members, once for the server and the pages: what `member` returns,
 * what pages read, and what they may send. The channel stays the same otherwise.
 *
 * @param schema Of the whole data, an object; any library of Standard Schema.
 * @example
 * ```ts
 * export const boardChannel = withPresence(
 *   channel('board').addTopic(topic('note').type<string>()),
 *   z.object({ name: z.string(), x: z.number().optional(), y: z.number().optional() })
 * );
 * ```
 */
export function withPresence<TChannel extends ChannelLike, TSchema extends StandardSchemaV1>(
	channel: TChannel,
	schema: TSchema
): WithPresence<TChannel, TSchema> {
	return Object.defineProperty(channel, 'presence', {
		value: schema,
		configurable: true
	}) as WithPresence<TChannel, TSchema>;
}

/** The schema that a channel was given by `withPresence`. */
export function presenceSchema(channel: ChannelLike): StandardSchemaV1 | undefined {
	// `typeOnlyChannel` answers every property; only its own ones count.
	return Object.hasOwn(channel, 'presence')
		? (channel as { presence?: StandardSchemaV1 }).presence
		: undefined;
}
