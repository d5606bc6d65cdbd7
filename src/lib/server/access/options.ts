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

/** Topics that may be asked for: those of the channel, and `$run` where the entry has `run: true`. */
export type RequestableTopic<TChannel extends ChannelLike, TRun extends boolean = boolean> =
	TopicKey<TChannel> | (TRun extends true ? typeof RUN_TOPIC : never);

/** What `authorize` is given. */
export interface RealtimeAuthorizeContext<TTopic extends string = string> {
	event: RequestEvent;
	/** `event.locals`: as it was when the stream was opened. */
	locals: App.Locals;
	request: Request;
	/** The resolved channel name. */
	channelId: string;
	/** The topics asked for. */
	topics: TTopic[];
	/** Parameters sent by the page: primitives or `null`. */
	params: RealtimeRequestParams;
	/** What `identify` said; `null` for a reader without a name. */
	identity: RealtimeIdentity | null;
}

/** What `reauthorize` is given. */
export interface RealtimeReauthorizeContext<
	TTopic extends string = string,
	TMessage = unknown
> extends RealtimeAuthorizeContext<TTopic> {
	/** Topic of the message that is about to be sent. */
	messageTopic: TTopic;
	message: TMessage;
}

/** What `view` is given. */
export interface RealtimeViewContext<TMessage = unknown> {
	/** The request of the reader. */
	event: RequestEvent;
	/** `event.locals`: as it was when the stream was opened. */
	locals: App.Locals;
	/** Parameters sent by the page: primitives or `null`. */
	params: RealtimeRequestParams;
	/** The message: a copy of this reader's own. */
	message: TMessage;
}

/** `true` allows all topics asked for, `false` none, `{ allowedTopics }` those of them. */
export type RealtimeAuthorizeResult<TTopic extends string = string> =
	boolean | { allowedTopics: readonly TTopic[] };

interface ChannelConfig<TChannel extends ChannelLike, TTopic extends string> {
	/** A channel, or a channel definition, of either SDK generation. */
	channel: TChannel;
	/**
	 * Parameters of the channel's builder: a value, or a function that reads them from the requested
	 * channel's name. A list is taken as the list of arguments. For a name that is not one of its own,
	 * the function answers with parameters that lead to another name, such as `''`. An answer that lacks what
	 * the name is made of never matches; what it throws matters where no other entry matches.
	 */
	channelParams?:
		| NonNullable<ChannelParams<TChannel>>
		| ((
				event: RequestEvent,
				requestedChannelId: string,
				requestParams: RealtimeRequestParams
		  ) => MaybePromise<ChannelParams<TChannel>>);
	/**
	 * Who may read which topics. Called once before a stream starts, then at each `recheckIntervalMs`, and
	 * for each message where per-message checks are on and there is no `reauthorize`.
	 *
	 * To deny, return `false` or `{ allowedTopics }` without the topic, or throw SvelteKit's `error(4xx)` or
	 * `RealtimeDenied`; the browser sees the text of what was thrown. Anything else that it throws
	 *
	 * - denies before a stream starts, with 403 and its text: `throw new Error('Sign in first')`;
	 * - is a fault while a stream is open: the channel ends with 503 and a fixed text, and the page tries
	 *   again. Where it may fail before the start as well, throw `error(503)`.
	 *
	 * Where it does not settle within `callbackTimeoutMs`, the channel ends with 503, too.
	 */
	authorize: (
		context: RealtimeAuthorizeContext<TTopic>
	) => MaybePromise<RealtimeAuthorizeResult<TTopic>>;
	/**
	 * Checks each message before it is sent, where `reauthorizeOnEachMessage` is on: exactly `true` lets
	 * it pass. Any other answer, `error(4xx)` and `RealtimeDenied` end the channel for good. Where it throws
	 * anything else, or does not settle within `callbackTimeoutMs`, the message is not sent, the channel
	 * ends with 503, and the page tries again.
	 * @default `authorize`, asked for the message's topic
	 */
	reauthorize?: (
		context: RealtimeReauthorizeContext<TTopic, RealtimeTopicMessage<TChannel>>
	) => MaybePromise<boolean>;
	/**
	 * What a reader sees of each message: the message, a changed one of the same shape, or `null` to skip it.
	 * So rows of several teams can share a channel. Asked for each reader and each message, live, replayed or
	 * of the history, in order, after `reauthorize`. Topic, channel, kind, time and position of a message stay
	 * as they are. Where it throws, or does not settle within `callbackTimeoutMs`, the message is not
	 * sent and the channel ends, as with `reauthorize`.
	 *
	 * It costs one call and one encoding per reader; without it readers share both. With a `view`, `latest`
	 * has no effect: what is newest for one reader may be hidden from another.
	 * @default everybody sees everything
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
	 * Whether the channel is listened to from the creation of the endpoint on, so that there is history
	 * before its first reader. For channels with a fixed name. Where `scope` is `request`, it has no
	 * effect. @default false
	 */
	warm?: boolean;
	/**
	 * How many messages of this channel are kept, and for how long, for replay and `history`; `false` keeps
	 * none. @default the endpoint's `replay`
	 */
	retention?: ReplayLimits | false;
	/** Another name of `retention`, which counts where both are set. */
	replay?: ReplayLimits | false;
	/**
	 * Topics of which only the newest message is of use, such as progress: `{ progress: true }`. A reader that
	 * does not keep up gets the newest only, and the log in memory keeps one. @default none
	 */
	latest?: { [K in TopicKey<TChannel>]?: boolean };
	/**
	 * How long new streams of the channel are taken while the process is under pressure
	 * (`limits.pressure`): `background` is refused first, `critical` last. @default 'normal'
	 */
	priority?: RealtimePriority;
	/** Whether pages see who reads the channel, and who is a member. @default nobody sees anybody */
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
	 * Who counts as one sender: a user or an address, say.
	 * @default the id that `identify` gave; without one, the client's address
	 */
	key?: (event: RequestEvent) => MaybePromise<string>;
}

/** Bounds of what browsers can cost this process. */
export interface RealtimeLimits {
	/** Bytes that may wait for one reader; past that it is closed, and resumes. @default 1_048_576 */
	maxBufferedBytes?: number;
	/**
	 * Streams of this endpoint in this process, those that wait for `authorize` included; past that 429.
	 * @default no limit
	 */
	maxStreams?: number;
	/** Streams with the same `key`; past that 429. @default no limit */
	maxStreamsPerKey?: number;
	/**
	 * What `maxStreamsPerKey` counts by: a user or an address, say.
	 * @default the id that `identify` gave; without one, the client's address
	 */
	key?: (event: RequestEvent) => MaybePromise<string>;
	/**
	 * How often one sender may open streams, and, counted separately, how often it may send each other kind
	 * of thing; past that 429 with `Retry-After`. Counted in the backend; while that is away, in this
	 * process. @default no limit
	 */
	rate?: RealtimeRate;
	/**
	 * Channels that are authorized at the same time in the whole process, over all endpoints; past that
	 * 503 with `Retry-After`. After a deploy all pages come at once. @default 200
	 */
	maxStarting?: number;
	/**
	 * Limits of the process: while it is past one of them, new streams and events are refused with 503 and
	 * `Retry-After`, and open streams live on. @default no limit
	 */
	pressure?: RealtimePressure;
	/** Events of pages that are handled at the same time; past that 503 with `Retry-After`. @default 1_000 */
	maxEvents?: number;
	/** Channels of one request; past that 400. @default 100 */
	maxSubscriptions?: number;
	/** Topics that one subscription may name; one request ten times as many. Past that 400. @default 200 */
	maxTopics?: number;
	/** Most messages that a subscription's `history` brings; a larger number counts as this one. @default 1_000 */
	maxHistory?: number;
	/** Characters of a channel's or topic's name; past that 400. @default 512 */
	maxNameLength?: number;
	/**
	 * Life of one stream in milliseconds, ±10 %; it then ends and the client resumes at once. Keep it
	 * under the limit of a host that cuts streams. @default no limit
	 */
	maxLifetimeMs?: number;
}
