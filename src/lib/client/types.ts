/** Public types of the client. */
import type { Snippet } from 'svelte';
import type { ChannelLike, ChannelParams } from '../protocol/channel.js';
import type {
	HealthPayload,
	RealtimeServerFailureStage,
	ResyncPayload
} from '../protocol/health.js';
import type { RealtimeRequestParams } from '../protocol/request.js';
import type { RealtimeTopicMessage, TopicKey } from '../protocol/types.js';

/** A value, or a function that a hook reads it from, again whenever what that reads changes. */
export type Reactive<T> = T | (() => T);

/** A channel, its definition, or a function that gives one. */
export type ChannelSource = ChannelLike | (() => ChannelLike);

/** The channel behind a `ChannelSource`. */
export type ChannelOf<TSource extends ChannelSource> = TSource extends ChannelLike
	? TSource
	: TSource extends () => infer TChannel
		? Extract<TChannel, ChannelLike>
		: never;

/** Names of the topics of a channel that may be given as a function. */
export type TopicOf<TSource extends ChannelSource> = TopicKey<ChannelOf<TSource>>;

/** A message of a topic of a channel that may be given as a function. */
export type MessageOf<
	TSource extends ChannelSource,
	TTopic extends TopicOf<TSource> = TopicOf<TSource>
> = RealtimeTopicMessage<ChannelOf<TSource>, TTopic>;

/** State of Svelte 5: reading `current` in a template, `$derived` or `$effect` follows it. */
export interface ReactiveCurrent<T> {
	readonly current: T;
}

/** The newest value of a topic. */
export type RealtimeTopicState<T> = ReactiveCurrent<T>;

/** How a channel fares. */
export type RealtimeHealthState = ReactiveCurrent<HealthPayload>;

/**
 * One channel that a `RealtimeManager` subscribes to. Written with its channel,
 * `RealtimeSubscription<typeof userChannel>`, parameters and topics are checked as well.
 */
export interface RealtimeSubscription<TChannel extends ChannelLike = ChannelLike> {
	/** A channel or a channel definition of either SDK generation. */
	channel: TChannel;
	/** A builder's only argument, or a list of its arguments. */
	channelParams?: ChannelLike extends TChannel ? unknown : ChannelParams<TChannel>;
	/**
	 * Topics to receive. `typeOnlyChannel` lists none and needs them here.
	 * @default all topics of the channel
	 */
	topics?: readonly (ChannelLike extends TChannel ? string : TopicKey<TChannel> | '$run')[];
	/** Sent along and read by the endpoint's `authorize`. */
	params?: RealtimeRequestParams;
	/** Subscribes to run lifecycle messages (topic `$run`) as well. @default false */
	run?: boolean;
}

/** A subscription with its channel's name and its topics settled. */
export interface RealtimeResolvedSubscription {
	channelId: string;
	/** Without duplicates, sorted. */
	topics: readonly string[];
	params?: RealtimeRequestParams;
}

/**
 * Where in the browser a failure arose: `request` (no stream came about), `stream` (it broke or the
 * server ended a channel), `parse` (a frame or a message could not be read), `handler` (a callback of
 * the app threw).
 */
export type RealtimeClientFailureSource = 'request' | 'stream' | 'parse' | 'handler';

/** What `onFailure` is told. */
export interface RealtimeClientFailureContext {
	source: RealtimeClientFailureSource;
	/** What happened, in words for people. */
	message: string;
	/** The only channel concerned; absent when the whole stream is. */
	channelId?: string;
	/** HTTP status of the answer, or the one that the server gives for the same failure. */
	status?: number;
	/** Where on the server it arose. */
	stage?: RealtimeServerFailureStage;
	/** Set when the channel is not tried again until its subscription changes. */
	fatal?: boolean;
	/** What was thrown. */
	error?: unknown;
}

/** When and how often a lost stream is tried again. */
export interface RealtimeReconnectOptions {
	/**
	 * Ceiling of the first delay, in milliseconds; it doubles with each failure, and the delay is a
	 * random part of it. `retry:` of the server takes its place.
	 * @default 500
	 */
	minDelayMs?: number;
	/** Highest ceiling of the delay, in milliseconds. @default 30_000 */
	maxDelayMs?: number;
	/** Milliseconds that a stream has to live for the delays to start anew. @default 60_000 */
	stableMs?: number;
}

/** Props of `RealtimeManager`. */
export interface RealtimeManagerProps {
	/** URL of the endpoint made by `createRealtimeEndpoint()`. @default '/api/events' */
	endpoint?: string;
	/**
	 * Channels to receive, all over one stream.
	 * @throws {RealtimeError} `DUPLICATE_CHANNEL` when two resolve to the same channel,
	 * `INVALID_OPTION` when one has no topics.
	 */
	subscriptions: readonly RealtimeSubscription[];
	/**
	 * Told of every failed attempt, ended channel, unreadable message and throwing handler; the last
	 * two go to the console as well.
	 */
	onFailure?: (failure: RealtimeClientFailureContext) => void;
	/** Told when messages of a channel may be missing: load anew, for example with `invalidateAll()`. */
	onResync?: (resync: ResyncPayload) => void;
	/** Delays of reconnecting, or `false` to leave a lost stream until `bus.reconnect()`. */
	reconnect?: RealtimeReconnectOptions | false;
	/**
	 * Milliseconds after which a hidden page lets go of its stream. It resumes where it was when the
	 * page is shown.
	 * @default false
	 */
	pauseOnHidden?: number | false;
	/** Whether to be connected at all. @default true */
	enabled?: boolean;
	/**
	 * Least milliseconds between two updates of the components that read; `0` updates with every
	 * message.
	 * @default undefined (once per frame of the screen)
	 */
	bufferIntervalMs?: number;
	/** Takes the place of the global `fetch`, for example to send headers. */
	fetch?: typeof globalThis.fetch;
	children?: Snippet;
}
