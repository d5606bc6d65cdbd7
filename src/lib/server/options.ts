import type { RequestEvent } from '@sveltejs/kit';
import type { ChannelLike, ChannelParams } from '../protocol/channel.js';
import { DEFAULT_INTERVAL_MS, MAX_SUBSCRIPTIONS, type RUN_TOPIC } from '../protocol/constants.js';
import { RealtimeError } from '../protocol/errors.js';
import type { RealtimeRequestParams } from '../protocol/request.js';
import type { RealtimeTopicMessage, TopicKey } from '../protocol/types.js';
import type { RealtimeServerFailureHandler } from './failure.js';
import type { ChannelReplay } from './hub.js';
import type { ReplayOptions, ReplayStore } from './replay.js';
import type { InngestClient } from './token.js';

type MaybePromise<T> = T | Promise<T>;

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

/** `true` allows all topics asked for, `false` none, `{ allowedTopics }` those of them. */
export type RealtimeAuthorizeResult<TTopic extends string = string> =
	boolean | { allowedTopics: readonly TTopic[] };

interface ChannelConfig<TChannel extends ChannelLike, TTopic extends string> {
	/** A channel, or a channel definition, of either SDK generation. */
	channel: TChannel;
	/**
	 * Parameters of the channel's builder: a value, or a function that reads them from the requested
	 * channel's name. A list is taken as the list of arguments.
	 */
	channelParams?:
		| NonNullable<ChannelParams<TChannel>>
		| ((
				event: RequestEvent,
				requestedChannelId: string,
				requestParams: RealtimeRequestParams
		  ) => MaybePromise<ChannelParams<TChannel>>);
	/** Who may read which topics. What it throws is what the browser is told. */
	authorize: (
		context: RealtimeAuthorizeContext<TTopic>
	) => MaybePromise<RealtimeAuthorizeResult<TTopic>>;
	/**
	 * Checks each message before it is sent, where per-message reauthorization is on: exactly `true`
	 * lets it pass. @default `authorize`, asked for the message's topic
	 */
	reauthorize?: (
		context: RealtimeReauthorizeContext<TTopic, RealtimeTopicMessage<TChannel>>
	) => MaybePromise<boolean>;
	/** Per-channel override. @default the endpoint's `reauthorizeOnEachMessage` */
	reauthorizeOnEachMessage?: boolean;
	/** Bounds of this channel's replay; `false` turns it off. @default the endpoint's `replay` */
	replay?: ChannelReplay;
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

/** Signs of life on a stream. */
export interface RealtimeHealthCheckOptions {
	/** Whether `health` ticks are sent; without them a comment every 30 s. @default true */
	enabled?: boolean;
	/** Milliseconds between two ticks of a channel, ±10 %. @default 15_000 */
	intervalMs?: number;
}

/** Bounds of what browsers can cost this process. */
export interface RealtimeLimits {
	/** Bytes that may wait for one reader; past that it is closed, and resumes. @default 1_048_576 */
	maxBufferedBytes?: number;
	/** Open streams of this endpoint in this process; past that 429. @default no limit */
	maxStreams?: number;
	/** Open streams with the same `key`; past that 429. @default no limit */
	maxStreamsPerKey?: number;
	/** What `maxStreamsPerKey` counts by: a user or an address, say. @default the client's address */
	key?: (event: RequestEvent) => string;
	/** Channels of one request; past that 400. @default 100 */
	maxSubscriptions?: number;
	/** Characters of a channel's or topic's name; past that 400. @default 512 */
	maxNameLength?: number;
	/**
	 * Life of one stream in milliseconds, ±10 %; it then ends and the client resumes at once. Keep it
	 * under the limit of a host that cuts streams. @default no limit
	 */
	maxLifetimeMs?: number;
}

/** Options of `createRealtime` and `createRealtimeEndpoint`. */
export interface RealtimeEndpointOptions<
	TChannels extends Record<string, ChannelLike> = Record<string, ChannelLike>
> {
	/** The Inngest client: its API's address, keys and environment are used. */
	inngest: InngestClient;
	/** The channels that can be asked for, by a key of your choice. */
	channels: { [K in keyof TChannels]: RealtimeChannelConfig<TChannels[K]> };
	/** Whether each message is authorized again before it is sent. @default false */
	reauthorizeOnEachMessage?: boolean;
	/**
	 * Milliseconds, ±10 %, after which the rights of each open stream are checked again by `authorize`,
	 * so that a revoked user is cut off although nothing is published. @default no check
	 */
	reauthorizeIntervalMs?: number;
	healthCheck?: RealtimeHealthCheckOptions;
	/** Called at each failure; may return the text that the browser sees. */
	onFailure?: RealtimeServerFailureHandler;
	/** Recent messages kept for readers that come back; `false` keeps none. @default kept in memory */
	replay?: ReplayOptions | ReplayStore | false;
	/** Milliseconds that a channel is kept warm after its last reader. @default 300_000 */
	lingerMs?: number;
	upstream?: {
		/** `false` opens a socket per channel, for servers that cannot add one. @default true */
		multiplex?: boolean;
	};
	/**
	 * What streams share: `process`, one socket to Inngest; `request`, nothing, for hosts where a
	 * socket may not outlive its request. @default 'request' on Cloudflare Workers, else 'process'
	 */
	scope?: 'process' | 'request';
	limits?: RealtimeLimits;
}

/** Options with their defaults. */
export interface Settings {
	intervalMs: number | false;
	recheckMs: number | false;
	lingerMs: number;
	multiplex: boolean;
	replay: ReplayOptions | ReplayStore | false;
	limits: Required<
		Pick<RealtimeLimits, 'maxBufferedBytes' | 'maxSubscriptions' | 'maxNameLength'>
	> &
		Omit<RealtimeLimits, 'maxBufferedBytes' | 'maxSubscriptions' | 'maxNameLength'>;
}

/**
 * Fills in the defaults.
 *
 * @throws {RealtimeError} `INVALID_OPTION` for what cannot work.
 */
export function readOptions(options: RealtimeEndpointOptions<never>): Settings {
	const { healthCheck = {}, limits = {}, reauthorizeIntervalMs, lingerMs = 300_000 } = options;
	const intervalMs =
		healthCheck.enabled === false ? false : (healthCheck.intervalMs ?? DEFAULT_INTERVAL_MS);
	positive('healthCheck.intervalMs', healthCheck.intervalMs);
	positive('reauthorizeIntervalMs', reauthorizeIntervalMs);
	for (const name of [
		'maxBufferedBytes',
		'maxStreams',
		'maxStreamsPerKey',
		'maxSubscriptions',
		'maxNameLength',
		'maxLifetimeMs'
	] as const) {
		positive(`limits.${name}`, limits[name]);
	}
	if (!(lingerMs >= 0)) invalid(`\`lingerMs\` must be zero or more milliseconds, not ${lingerMs}.`);
	for (const [key, config] of Object.entries<RealtimeChannelConfig>(options.channels ?? {})) {
		if (!config?.channel?.topics) {
			invalid(`\`channels.${key}.channel\` is not a channel of @inngest/realtime or inngest.`);
		}
		if (typeof config.authorize !== 'function') {
			invalid(`\`channels.${key}.authorize\` is missing: it decides who may read the channel.`);
		}
	}
	if (!options.channels || Object.keys(options.channels).length === 0) {
		invalid('`channels` is empty: name at least one channel that can be asked for.');
	}
	return {
		intervalMs,
		recheckMs: reauthorizeIntervalMs ?? false,
		// The longest that a timer can wait.
		lingerMs: Math.min(lingerMs, 2 ** 31 - 1),
		multiplex: options.upstream?.multiplex ?? true,
		replay: options.replay ?? {},
		limits: {
			...limits,
			maxBufferedBytes: limits.maxBufferedBytes ?? 1024 * 1024,
			maxSubscriptions: limits.maxSubscriptions ?? MAX_SUBSCRIPTIONS,
			maxNameLength: limits.maxNameLength ?? 512
		}
	};
}

function positive(name: string, value: number | undefined): void {
	if (value !== undefined && !(value > 0)) invalid(`\`${name}\` must be positive, not ${value}.`);
}

function invalid(message: string): never {
	throw new RealtimeError('INVALID_OPTION', message);
}
