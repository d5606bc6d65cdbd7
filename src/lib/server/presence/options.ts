import type { RequestEvent } from '@sveltejs/kit';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { ChannelLike } from '../../protocol/channel.js';
import type { RealtimeMember } from '../../protocol/presence.js';
import type { RealtimeRequestParams } from '../../protocol/request.js';

type MaybePromise<T> = T | PromiseLike<T>;

/** Data of a channel's members, before JSON. */
type MemberData<TChannel extends ChannelLike> = TChannel extends {
	presence: infer TSchema extends StandardSchemaV1;
}
	? StandardSchemaV1.InferInput<TSchema>
	: Record<string, unknown>;

/** What `member` is given. */
export interface RealtimeMemberContext {
	locals: App.Locals;
	event: RequestEvent;
	/** Parameters sent by the page. */
	params: RealtimeRequestParams;
	/** The resolved channel name. */
	channelId: string;
}

/** What the hooks of presence are given. */
export interface RealtimePresenceContext<TData = Record<string, unknown>> {
	/** The resolved channel name. */
	channelId: string;
	member: RealtimeMember<TData>;
}

/** Presence of one channel. Whoever reads it is a member. */
export interface RealtimePresenceOptions<TChannel extends ChannelLike = ChannelLike> {
	/**
	 * Who the reader is to the others. `null`: it may read, and see who is there, but is no member.
	 * Without an `id`, it is the one that `identify` gave, and a reader without a name is no member.
	 * @default the id that `identify` gave, without data
	 */
	member?: (
		context: RealtimeMemberContext
	) => MaybePromise<{ id?: string; data?: MemberData<TChannel> } | null>;
	/**
	 * Describes the whole data of a member. What a page sends is merged into its member's data and
	 * validated by it; without a schema pages cannot change anything.
	 * @default that of `withPresence`
	 */
	schema?: StandardSchemaV1;
	/** Fields of the data that pages cannot change: a role, say. @default none */
	fixed?: readonly (keyof MemberData<TChannel> & string)[];
	/** Members that the channel may have, in all processes; past that 409. @default no limit */
	maxMembers?: number;
	/** Milliseconds within which whoever comes back has neither left nor joined. @default 10_000 */
	graceMs?: number;
	/** What an update of a page takes from `limits.rate`. @default 1 */
	cost?: number;
	/** Called when a member joined, once in all processes. */
	onJoin?: (context: RealtimePresenceContext) => void | PromiseLike<void>;
	/** Called when a member left, once in all processes. */
	onLeave?: (context: RealtimePresenceContext) => void | PromiseLike<void>;
	/** Called when somebody was refused because there are `maxMembers`; `member` is who. */
	onFull?: (context: RealtimePresenceContext) => void | PromiseLike<void>;
}

/** How long, in milliseconds, whoever is gone may take to come back. */
export const DEFAULT_GRACE_MS = 10_000;
