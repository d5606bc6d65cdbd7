import { resolveChannel, type ChannelLike } from '../protocol/channel.js';
import { DEFAULT_INTERVAL_MS, MAX_SUBSCRIPTIONS } from '../protocol/constants.js';
import { RealtimeError } from '../protocol/errors.js';
import type { RealtimeChannelConfig, RealtimeLimits } from './access/options.js';
import type { RealtimeBackend } from './backend/backend.js';
import type { ReplayOptions } from './backend/memory.js';
import type { ReplayStore } from './backend/replay.js';
import type { RealtimeServerFailureHandler } from './failure/report.js';
import type { RealtimeUpstreamOptions } from './inngest/options.js';
import type { InngestClient } from './inngest/token.js';

/** Signs of life on a stream. */
export interface RealtimeHealthCheckOptions {
	/** Whether `health` ticks are sent; without them a comment every 30 s. @default true */
	enabled?: boolean;
	/** Milliseconds between two ticks of a channel, ±10 %. @default 15_000 */
	intervalMs?: number;
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
	 * Milliseconds, ±10 %, after which `authorize` is asked again about each open stream, so that a
	 * user whose rights were revoked is cut off although nothing is published. @default no check
	 */
	recheckIntervalMs?: number;
	healthCheck?: RealtimeHealthCheckOptions;
	/** Called at each failure; may return the text that the browser sees. */
	onFailure?: RealtimeServerFailureHandler;
	/** Recent messages kept for readers that come back; `false` keeps none. @default kept in memory */
	replay?: ReplayOptions | ReplayStore | false;
	/**
	 * What several processes of the app share: `redisBackend(client)` of `sveltekit-inngest/redis`,
	 * `postgresBackend(pool)` of `sveltekit-inngest/postgres`. The bounds of `replay` apply to it.
	 * @default memory of this process
	 */
	backend?: RealtimeBackend;
	/** Milliseconds that a channel is kept warm after its last reader. @default 300_000 */
	lingerMs?: number;
	/** How the socket to Inngest is opened, through a proxy for example. */
	upstream?: RealtimeUpstreamOptions;
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
	reauthorizeOnEachMessage: boolean;
	lingerMs: number;
	replay: ReplayOptions | ReplayStore | false;
	backend: RealtimeBackend | undefined;
	upstream: RealtimeUpstreamOptions;
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
	const { healthCheck = {}, limits = {}, recheckIntervalMs, lingerMs = 300_000 } = options;
	const intervalMs =
		healthCheck.enabled === false ? false : (healthCheck.intervalMs ?? DEFAULT_INTERVAL_MS);
	positive('healthCheck.intervalMs', healthCheck.intervalMs);
	positive('recheckIntervalMs', recheckIntervalMs);
	if ('reauthorizeIntervalMs' in options) {
		invalid('`reauthorizeIntervalMs` is now called `recheckIntervalMs`; rename it.');
	}
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
	const { agent, WebSocket } = options.upstream ?? {};
	if (agent !== undefined && typeof agent !== 'object') {
		invalid('`upstream.agent` is not an agent: pass an `http.Agent`, or one of a proxy.');
	}
	if (WebSocket !== undefined && typeof WebSocket !== 'function') {
		invalid('`upstream.WebSocket` is not a class: pass it as it is, without `new`.');
	}
	if (!(lingerMs >= 0)) invalid(`\`lingerMs\` must be zero or more milliseconds, not ${lingerMs}.`);
	for (const [key, config] of Object.entries<RealtimeChannelConfig>(options.channels ?? {})) {
		if (!config?.channel?.topics) {
			invalid(`\`channels.${key}.channel\` is not a channel of @inngest/realtime or inngest.`);
		}
		if (typeof config.authorize !== 'function') {
			invalid(`\`channels.${key}.authorize\` is missing: it decides who may read the channel.`);
		}
		if (config.warm) checkWarm(key, config);
	}
	if (!options.channels || Object.keys(options.channels).length === 0) {
		invalid('`channels` is empty: name at least one channel that can be asked for.');
	}
	return {
		intervalMs,
		recheckMs: recheckIntervalMs ?? false,
		reauthorizeOnEachMessage: options.reauthorizeOnEachMessage ?? false,
		// The longest that a timer can wait.
		lingerMs: Math.min(lingerMs, 2 ** 31 - 1),
		replay: options.replay ?? {},
		backend: readBackend(options),
		upstream: options.upstream ?? {},
		limits: {
			...limits,
			maxBufferedBytes: limits.maxBufferedBytes ?? 1024 * 1024,
			maxSubscriptions: limits.maxSubscriptions ?? MAX_SUBSCRIPTIONS,
			maxNameLength: limits.maxNameLength ?? 512
		}
	};
}

/** A store of the app's own takes the place of the backend's log, which carries what the bus announces. */
function readBackend({
	backend,
	replay
}: Pick<RealtimeEndpointOptions, 'backend' | 'replay'>): RealtimeBackend | undefined {
	if (backend === undefined) return undefined;
	if (typeof backend?.name !== 'string') {
		invalid('`backend` is not a backend: pass what redisBackend() or postgresBackend() returns.');
	}
	if (backend.bus && !backend.replay) {
		invalid(`The backend "${backend.name}" has a bus but no replay, whose log a bus announces.`);
	}
	if (!backend.bus || !replay || !('append' in replay)) return backend;
	return invalid(
		`\`replay\` is a store of its own, but the log of the backend "${backend.name}" carries its messages: give \`replay\` bounds, or leave it out.`
	);
}

/** A channel can be kept warm only if its name does not depend on a request. */
function checkWarm(key: string, { channel, channelParams }: RealtimeChannelConfig): void {
	const given: unknown = channelParams;
	if (typeof given !== 'function') {
		try {
			if (resolveChannel(channel, given).topics.length > 0) return;
		} catch {
			// Its builder needs parameters.
		}
	}
	invalid(
		`\`channels.${key}.warm\` needs a channel with a fixed name and listed topics: remove \`warm\`, or give \`channelParams\` as a value.`
	);
}

function positive(name: string, value: number | undefined): void {
	if (value !== undefined && !(value > 0)) invalid(`\`${name}\` must be positive, not ${value}.`);
}

function invalid(message: string): never {
	throw new RealtimeError('INVALID_OPTION', message);
}
