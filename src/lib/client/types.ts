/** Public types of the client. */
import type { ChannelLike, ChannelParams } from '../protocol/channel.js';
import type { HealthPayload, RealtimeServerFailureStage } from '../protocol/health.js';
import type { RealtimeRequestParams } from '../protocol/request.js';
import type { Positioned, RealtimeTopicMessage, TopicKey } from '../protocol/types.js';

/**
 * A value, or a function that returns it. A hook calls the function again when state that it reads changes.
 */
export type Reactive<T> = T | (() => T);

/** A channel, its definition, or a function that returns one. */
export type ChannelSource = ChannelLike | (() => ChannelLike);

/** The channel behind a `ChannelSource`. */
export type ChannelOf<TSource extends ChannelSource> = TSource extends ChannelLike
	? TSource
	: TSource extends () => infer TChannel
		? Extract<TChannel, ChannelLike>
		: never;

/** Names of the topics of a channel that may be given as a function. */
export type TopicOf<TSource extends ChannelSource> = TopicKey<ChannelOf<TSource>>;

/**
 * A message of a topic of a channel that may be given as a function. Its `cursor` is unique in the channel:
 * use it as the key of an `{#each}`.
 */
export type MessageOf<
	TSource extends ChannelSource,
	TTopic extends TopicOf<TSource> = TopicOf<TSource>
> = Positioned<RealtimeTopicMessage<ChannelOf<TSource>, TTopic>>;

/** State of Svelte 5: reading `current` in a template, `$derived` or `$effect` follows it. */
export interface ReactiveCurrent<T> {
	readonly current: T;
}

/** The newest value of a topic. */
export type RealtimeTopicState<T> = ReactiveCurrent<T>;

/** The health of a channel. */
export type RealtimeHealthState = ReactiveCurrent<HealthPayload>;

/**
 * Why a manager has no stream on purpose. `disabled`: its `enabled` is false; `hidden`: the page is hidden
 * (`pauseOnHidden`) or left; `empty`: it has no subscriptions; `closed`: it is gone.
 */
export type RealtimePauseReason = 'disabled' | 'hidden' | 'empty' | 'closed';

/** The combined status of all channels of a manager. */
export interface RealtimeBusStatus {
	readonly status: 'connecting' | 'connected' | 'degraded' | 'paused';
	/** Set when the status is `paused`. */
	readonly reason?: RealtimePauseReason;
}

/** Where a subscription starts, as long as the client has received nothing from the channel. */
type SubscriptionStart =
	| {
			/**
			 * Starts after this cursor, for example one that `load` returned. Later messages are replayed; a `resync`
			 * says if some are missing. It has no effect once the channel has its own cursor.
			 */
			since?: string | null;
			history?: undefined;
	  }
	| {
			since?: undefined;
			/**
			 * Starts with this many recent messages, if the server still has them; they carry `history: true`. It has
			 * no effect once the channel has its own cursor.
			 */
			history?: number;
	  };

/** Parameters of a channel's builder, required if the builder requires them. */
type SubscriptionParams<TChannel extends ChannelLike> = ChannelLike extends TChannel
	? {
			/** A builder's only argument, or a list of its arguments. */
			channelParams?: unknown;
		}
	: TChannel extends (...args: infer TArgs extends readonly unknown[]) => unknown
		? [] extends TArgs
			? {
					/** A builder's only argument, or a list of its arguments. */
					channelParams?: ChannelParams<TChannel>;
				}
			: {
					/** A builder's only argument, or a list of its arguments. */
					channelParams: ChannelParams<TChannel>;
				}
		: { channelParams?: undefined };

/**
 * One channel that a `RealtimeManager` subscribes to. With the type of its channel,
 * `RealtimeSubscription<typeof userChannel>`, parameters and topics are checked as well.
 */
export type RealtimeSubscription<TChannel extends ChannelLike = ChannelLike> = {
	/** A channel or a channel definition of either SDK generation. */
	channel: TChannel;
	/**
	 * Topics to receive. `typeOnlyChannel` lists none and needs them here.
	 * @default all topics of the channel
	 */
	topics?: readonly (ChannelLike extends TChannel ? string : TopicKey<TChannel> | '$run')[];
	/** Sent along and read by the endpoint's `authorize`. */
	params?: RealtimeRequestParams;
	/** Subscribes to run lifecycle messages (topic `$run`) as well. @default false */
	run?: boolean;
} & SubscriptionParams<TChannel> &
	SubscriptionStart;

/**
 * Checks a subscription against its own channel: it is `never` if parameters are missing or a topic does not
 * exist. A list that was declared elsewhere has lost the literal names of its topics and the number of its
 * parameters; the server checks those.
 */
export type CheckedSubscription<TSubscription> = TSubscription extends {
	readonly channel: infer TChannel extends ChannelLike;
}
	? ChannelLike extends TChannel
		? TSubscription
		: RealtimeSubscription<TChannel> | Widened<TSubscription, TChannel>
	: never;

/** Accepts lists that have lost their literal types. */
type Widened<TSubscription, TChannel extends ChannelLike> = Omit<
	RealtimeSubscription<TChannel>,
	WidenedKey<TSubscription>
> &
	Pick<RealtimeSubscription, WidenedKey<TSubscription>>;

type WidenedKey<TSubscription> =
	| (TSubscription extends { topics: readonly (infer TTopic)[] }
			? string extends TTopic
				? 'topics'
				: never
			: never)
	| (TSubscription extends { channelParams: readonly unknown[] }
			? number extends TSubscription['channelParams']['length']
				? 'channelParams'
				: never
			: never);

/** `CheckedSubscription` for each of a list. */
export type CheckedSubscriptions<TSubscriptions extends readonly RealtimeSubscription[]> = {
	readonly [K in keyof TSubscriptions]: CheckedSubscription<TSubscriptions[K]>;
};

/** A subscription with the final name of its channel and its final topics. */
export interface RealtimeResolvedSubscription {
	channelId: string;
	/** Without duplicates, sorted. */
	topics: readonly string[];
	params?: RealtimeRequestParams;
	/** Cursor to start after. */
	since?: string;
	/** Number of recent messages to start with. */
	history?: number;
}

/**
 * Where in the browser a failure happened: `request` (no stream could be opened), `stream` (it broke, or the
 * server ended a channel), `parse` (a frame or a message could not be read), `handler` (a callback of the app
 * threw).
 */
export type RealtimeClientFailureSource = 'request' | 'stream' | 'parse' | 'handler';

/** What `onFailure` receives. */
export interface RealtimeClientFailureContext {
	source: RealtimeClientFailureSource;
	/** What happened, in words for people. */
	message: string;
	/** The only channel concerned; absent when the whole stream is. */
	channelId?: string;
	/** HTTP status of the response, or the status that the server uses for the same failure. */
	status?: number;
	/**
	 * Where the request was redirected to, if the response was not a stream: usually a sign-in page. Like a
	 * `status` of 401, it means that the session has expired, not that something failed.
	 */
	location?: string;
	/** Where on the server it happened. */
	stage?: RealtimeServerFailureStage;
	/** Set when the channel is not tried again until its subscription changes. */
	fatal?: boolean;
	/** What was thrown. */
	error?: unknown;
}

/** An event whose version the server does not support: the page is too old. */
export interface RealtimeOutdated {
	/** Name of the event. */
	event: string;
	/** Version that the page was built with. */
	version: number;
}

/** When and how often to reconnect a lost stream. */
export interface RealtimeReconnectOptions {
	/**
	 * Upper bound of the first delay, in milliseconds. It doubles with each failure, and the delay is a random
	 * part of it. `retry:` of the server replaces it.
	 * @default 500
	 */
	minDelayMs?: number;
	/** Highest upper bound of the delay, in milliseconds. @default 30_000 */
	maxDelayMs?: number;
	/** How long, in milliseconds, a stream has to live before the delays start over. @default 60_000 */
	stableMs?: number;
}
