import type { RequestEvent } from '@sveltejs/kit';
import type { ChannelLike, ChannelParams } from '../../protocol/channel.js';
import type { RUN_TOPIC } from '../../protocol/constants.js';
import type { RealtimeRequestParams } from '../../protocol/request.js';
import type { RealtimeTopicMessage, TopicKey } from '../../protocol/types.js';
import type { ReplayLimits } from '../backend/replay.js';
import type { RateRule } from '../backend/rateLimit.js';
import type { RealtimeSource } from '../hub/source.js';
import type { RealtimePressure, RealtimePriority } from './pressure.js';
import type { RealtimePresenceOptions } from '../presence/options.js';
import type { RealtimeIdentity } from './identity.js';

type MaybePromise<T> = T | PromiseLike<T>;

/** Topics that a page may request: those of the channel, and `$run` if the entry has `run: true`. */
export type RequestableTopic<TChannel extends ChannelLike, TRun extends boolean = boolean> =
	TopicKey<TChannel> | (TRun extends true ? typeof RUN_TOPIC : never);

/** The argument of `authorize`. */
export interface RealtimeAuthorizeContext<TTopic extends string = string> {
	event: RequestEvent;
	/** `event.locals`: as it was when the stream was opened. */
	locals: App.Locals;
	request: Request;
	/** The resolved channel name. */
	channelId: string;
	/** The requested topics. */
	topics: TTopic[];
	/** Parameters sent by the page: primitives or `null`. */
	params: RealtimeRequestParams;
	/** The result of `identify`; `null` for an anonymous reader. */
	identity: RealtimeIdentity | null;
}

/** The argument of `reauthorize`. */
export interface RealtimeReauthorizeContext<
	TTopic extends string = string,
	TMessage = unknown
> extends RealtimeAuthorizeContext<TTopic> {
	/** Topic of the message that is about to be sent. */
	messageTopic: TTopic;
	message: TMessage;
}

/** The argument of `view`. */
export interface RealtimeViewContext<TMessage = unknown> {
	/** The request of the reader. */
	event: RequestEvent;
	/** `event.locals`: as it was when the stream was opened. */
	locals: App.Locals;
	/** Parameters sent by the page: primitives or `null`. */
	params: RealtimeRequestParams;
	/** The message: a copy that only this reader gets. */
	message: TMessage;
}

/** `true` allows all requested topics, `false` none, `{ allowedTopics }` only those listed. */
export type RealtimeAuthorizeResult<TTopic extends string = string> =
	boolean | { allowedTopics: readonly TTopic[] };

interface ChannelConfig<TChannel extends ChannelLike, TTopic extends string> {
	/** A channel, or a channel definition, of either SDK generation. */
	channel: TChannel;
	/**
	 * Parameters of the channel's builder: a value, or a function that reads them from the name of the requested
	 * channel. An array is passed as the list of arguments. If the name belongs to another entry, the function
	 * returns parameters that lead to another name, such as `''`. Parameters that lack a part of the name never
	 * match. An error that it throws is reported only if no other entry matches.
	 */
	channelParams?:
		| NonNullable<ChannelParams<TChannel>>
		| ((
				event: RequestEvent,
				requestedChannelId: string,
				requestParams: RealtimeRequestParams
		  ) => MaybePromise<ChannelParams<TChannel>>);
	/**
	 * Who may read which topics. Called once before a stream starts, then every `recheckIntervalMs`, and for
	 * each message if per-message checks are on and there is no `reauthorize`.
	 *
	 * To deny, return `false` or `{ allowedTopics }` without the topic, or throw SvelteKit's `error(4xx)` or
	 * `RealtimeDenied`; the browser sees the text of what was thrown. Anything else that it throws
	 *
	 * - denies before a stream starts, with 403 and its text: `throw new Error('Sign in first')`;
	 * - is a fault while a stream is open: the channel ends with 503 and a fixed text, and the page tries again.
	 *   If it can also fail before the start, throw `error(503)`.
	 *
	 * If it does not settle within `callbackTimeoutMs`, the channel ends with 503, too.
	 */
	authorize: (
		context: RealtimeAuthorizeContext<TTopic>
	) => MaybePromise<RealtimeAuthorizeResult<TTopic>>;
	/**
	 * Checks each message before it is sent, if `reauthorizeOnEachMessage` is on. Only `true` lets it pass. Any
	 * other result, `error(4xx)` and `RealtimeDenied` end the channel for good. If it throws anything else, or
	 * does not settle within `callbackTimeoutMs`, the message is not sent, the channel ends with 503, and the
	 * page tries again.
	 * @default `authorize`, called with the message's topic
	 */
	reauthorize?: (
		context: RealtimeReauthorizeContext<TTopic, RealtimeTopicMessage<TChannel>>
	) => MaybePromise<boolean>;
	/**
	 * What a reader sees of each message: the message, a changed one of the same shape, or `null` to skip it.
	 * This lets rows of several teams share a channel. Called for each reader and each message, live, replayed
	 * or from the history, in order, after `reauthorize`. Topic, channel, kind, time and position of a message
	 * stay as they are. If it throws, or does not settle within `callbackTimeoutMs`, the message is not sent and
	 * the channel ends, as with `reauthorize`.
	 *
	 * It costs one call and one encoding per reader and message; without it, all readers share one encoding.
	 * With a `view`, `latest` has no effect: the newest message for one reader may be hidden from another.
	 * @default everyone sees every message
	 */
	view?: (
		context: RealtimeViewContext<RealtimeTopicMessage<TChannel>>
	) => MaybePromise<RealtimeTopicMessage<TChannel> | null>;
	/** Per-channel override. @default the endpoint's `reauthorizeOnEachMessage` */
	reauthorizeOnEachMessage?: boolean;
	/**
	 * Where the channel's messages come from besides `emit`: a source such as `postgresSource()`, or
	 * `false` for `emit` alone, which needs no socket to Inngest. @default Inngest
	 */
	source?: RealtimeSource | false;
	/**
	 * Whether to listen to the channel from the moment the endpoint is created, so that there is history before
	 * the first reader. For channels with a fixed name. It has no effect if `scope` is `request`. @default false
	 */
	warm?: boolean;
	/**
	 * How many messages of this channel are kept, and for how long, for replay and `history`; `false` keeps no
	 * messages. @default the endpoint's `replay`
	 */
	retention?: ReplayLimits | false;
	/** Another name for `retention`, which wins if both are set. */
	replay?: ReplayLimits | false;
	/**
	 * Topics of which only the newest message matters, such as progress: `{ progress: true }`. A reader that
	 * does not keep up gets only the newest message, and the log in memory keeps only that one. @default none
	 */
	latest?: { [K in TopicKey<TChannel>]?: boolean };
	/**
	 * Priority of new streams of the channel while the process is under pressure (`limits.pressure`):
	 * `background` is refused first, `critical` last. @default 'normal'
	 */
	priority?: RealtimePriority;
	/** Whether pages see who reads the channel, and who is a member. @default no presence */
	presence?: RealtimePresenceOptions<TChannel>;
}

/** One entry of the registry. */
export type RealtimeChannelConfig<TChannel extends ChannelLike = ChannelLike> =
	| (ChannelConfig<TChannel, RequestableTopic<TChannel, false>> & {
			/** Makes the topic `$run`, the lifecycle of runs, requestable. @default false */
			run?: false;
	  })
	| (ChannelConfig<TChannel, RequestableTopic<TChannel, true>> & {
			/** Makes the topic `$run`, the lifecycle of runs, requestable. @default false */
			run: true;
	  });

/** How often one sender may do something. */
export interface RealtimeRate extends RateRule {
	/**
	 * Who counts as one sender, such as a user or an address.
	 * @default the id that `identify` gave; without one, the client's address
	 */
	key?: (event: RequestEvent) => MaybePromise<string>;
}

/** Limits on what browsers can cost this process. */
export interface RealtimeLimits {
	/**
	 * Bytes that may wait for one reader; beyond that its stream is closed, and it resumes. @default 1_048_576
	 */
	maxBufferedBytes?: number;
	/**
	 * Streams of this endpoint in this process, including those that wait for `authorize`; beyond that, 429.
	 * @default no limit
	 */
	maxStreams?: number;
	/** Streams with the same `key`; beyond that, 429. @default no limit */
	maxStreamsPerKey?: number;
	/**
	 * The key that `maxStreamsPerKey` counts by, such as a user or an address.
	 * @default the id that `identify` gave; without one, the client's address
	 */
	key?: (event: RequestEvent) => MaybePromise<string>;
	/**
	 * How often one sender may open streams and, counted separately, how often it may send each other kind of
	 * request; beyond that, 429 with `Retry-After`. Counted in the backend or, while that is unavailable, in
	 * this process. @default no limit
	 */
	rate?: RealtimeRate;
	/**
	 * Channels that are authorized at the same time in the whole process, over all endpoints; beyond that, 503
	 * with `Retry-After`. It matters after a deploy, when all pages reconnect at once. @default 200
	 */
	maxStarting?: number;
	/**
	 * Limits of the process: while it is over one of them, new streams and events are refused with 503 and
	 * `Retry-After`, and open streams stay open. @default no limit
	 */
	pressure?: RealtimePressure;
	/** Events of pages that are handled at the same time; beyond that, 503 with `Retry-After`. @default 1_000 */
	maxEvents?: number;
	/** Channels of one request; beyond that, 400. @default 100 */
	maxSubscriptions?: number;
	/**
	 * Topics that one subscription may name; a request may name ten times as many. Beyond that, 400. @default
	 * 200
	 */
	maxTopics?: number;
	/**
	 * Most messages that a subscription's `history` returns; a larger number is lowered to this one. @default
	 * 1_000
	 */
	maxHistory?: number;
	/** Characters in the name of a channel or topic; beyond that, 400. @default 512 */
	maxNameLength?: number;
	/**
	 * Life of one stream in milliseconds, ±10 %; it then ends and the client resumes at once. Keep it
	 * under the limit of a host that cuts streams. @default no limit
	 */
	maxLifetimeMs?: number;
}
