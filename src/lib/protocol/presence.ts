import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { ChannelLike } from './channel.js';
import type { Jsonify } from './types.js';

/** A member of a channel. One per id, however many tabs and devices it uses. */
export interface RealtimeMember<TData = unknown> {
	readonly id: string;
	/** Data from the server and from the member's own pages. */
	readonly data: TData;
	/** Open streams: tabs and devices. */
	readonly streams: number;
	/** When it joined, in milliseconds since the epoch. */
	readonly joinedAt: number;
}

/** Data of a `presence` event. */
export type PresencePayload = { channel: string } & (
	| {
			/** All members; sent first, and whenever changes may have been missed. */
			type: 'sync';
			members: readonly RealtimeMember[];
			/** Id of the reader itself, if it is a member. */
			self?: string;
			/** Name of the reader's stream, which the page sends with its updates. */
			stream: string;
			/** Milliseconds between two signs of life that the page must send; absent if it need not. */
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
	/** New values of its data; absent if it only shows that the page is alive. */
	data?: Record<string, unknown>;
	/** Milliseconds after which the server resets these values. */
	ttlMs?: number;
	/** Whether values that are not listed are reset to those that the server started with. */
	reset?: boolean;
	/** Whether a `sync` is wanted. */
	sync?: boolean;
}

/** Data of an `ask` event: the server asks a page something. */
export interface AskPayload {
	channel: string;
	topic: string;
	/** Id of the question, for its answer. */
	id: string;
	data?: unknown;
	/** Set when it needs no answer any more. */
	isOver?: boolean;
}

/** A page's answer to an `ask`: the result of its handler, or why it failed. */
export type AnswerRequest = { id: string } & ({ data: unknown } | { error: string });

/** A channel with a schema for its members' data. */
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
 * Describes the data of a channel's members, once for the server and the pages: what `member` returns, what
 * pages read, and what they may send. Otherwise the channel stays the same.
 *
 * @param schema Schema of the whole data, an object; from any library that follows Standard Schema.
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
	// `typeOnlyChannel` has every property; only its own ones count.
	return Object.hasOwn(channel, 'presence')
		? (channel as { presence?: StandardSchemaV1 }).presence
		: undefined;
}
