import { resolveChannel, type ChannelLike, type ResolvedChannel } from '../protocol/channel.js';
import { DEFAULT_INTERVAL_MS, MAX_SUBSCRIPTIONS } from '../protocol/constants.js';
import { RealtimeError } from '../protocol/errors.js';
import type { EventDefinition } from '../protocol/event.js';
import { quoted } from '../protocol/quote.js';
import type { RealtimeIdentify } from './access/identity.js';
import type { RealtimeChannelConfig, RealtimeLimits } from './access/options.js';
import { PRESSURE_LIMITS, type RealtimePriority } from './access/pressure.js';
import type { RealtimeBackend } from './backend/backend.js';
import type { ReplayOptions } from './backend/memory.js';
import type { ReplayStore } from './backend/replay.js';
import type { RealtimeEmit, RealtimePublish } from './emit.js';
import type {
	RealtimeEventConfig,
	RealtimeEventContext,
	RealtimeOnEvent
} from './events/options.js';
import type { RealtimePresenceOptions } from './presence/options.js';
import { CALLBACK_TIMEOUT_MS } from './failure/callback.js';
import type { RealtimeServerFailureHandler } from './failure/report.js';
import type { RealtimeUpstreamOptions } from './inngest/options.js';
import type { InngestClient } from './inngest/token.js';

/** Signals that show a stream is alive. */
export interface RealtimeHealthCheckOptions {
	/** Whether `health` ticks are sent; without them, a comment is sent every 30 s. @default true */
	enabled?: boolean;
	/** Milliseconds between two ticks of a channel, ±10 %. @default 15_000 */
	intervalMs?: number;
}

/** The Inngest client that the handler of an event gets; both SDK generations have `send`. */
export type EventInngestClient = InngestClient & {
	send(
		payload: { name: string; data?: unknown; id?: string } | readonly object[]
	): Promise<unknown>;
};

/** What the handler of an event gets besides the data. */
export type RealtimeHandlerContext = RealtimeEventContext<
	RealtimeEmit,
	RealtimePublish,
	EventInngestClient
>;

/** Options of `createRealtime` and `createRealtimeEndpoint`. */
export interface RealtimeEndpointOptions<
	TChannels extends Record<string, ChannelLike> = Record<string, ChannelLike>,
	TEvents extends Record<string, EventDefinition> = Record<string, EventDefinition>
> {
	/** The Inngest client. Its API address, keys and environment are used. */
	inngest: InngestClient;
	/** The channels that pages can read, by a key of your choice. */
	channels: { [K in keyof TChannels]: RealtimeChannelConfig<TChannels[K]> };
	/** The events that pages can send, by a key of your choice. @default none */
	events?: { [K in keyof TEvents]: RealtimeEventConfig<TEvents[K], RealtimeHandlerContext> };
	/** Called with the outcome of each event that a page sent: for an audit log. */
	onEvent?: RealtimeOnEvent;
	/**
	 * How long, in milliseconds, the id of an event or a key of `once` is remembered, with its result.
	 * @default 86_400_000 (24 hours)
	 */
	dedupeMs?: number;
	/** Whether each message is authorized again before it is sent. @default false */
	reauthorizeOnEachMessage?: boolean;
	/**
	 * Milliseconds, ±10 %, after which `authorize` is asked again about each open stream, so that a user whose
	 * rights were revoked is cut off even if nothing is published. @default no check
	 */
	recheckIntervalMs?: number;
	healthCheck?: RealtimeHealthCheckOptions;
	/** Called at each failure; may return the text that the browser sees. */
	onFailure?: RealtimeServerFailureHandler;
	/**
	 * Identifies the reader behind a request, once per request: a user's id, an object with an `id` and
	 * attributes, or `null` for an anonymous reader. If it throws, the request is refused. @default every reader
	 * is anonymous
	 */
	identify?: RealtimeIdentify;
	/**
	 * Time limit, in milliseconds, for your callbacks: `authorize`, `reauthorize`, `view`, `channelParams`,
	 * `identify`, `limits.key`, `onFailure`, and an asynchronous schema. A callback that takes longer has
	 * failed: nothing is sent, the channel ends with 503, and the page tries again. A message whose schema does
	 * not settle is dropped. `onFailure` gets the name of the callback.
	 * @default 10_000
	 */
	callbackTimeoutMs?: number;
	/**
	 * Whether pages of other sites may open streams. They are refused by the header `Sec-Fetch-Site`,
	 * for `GET` and `POST`. Sites that you allow also need CORS headers, which your `handle` hook sets.
	 * @default false
	 */
	allowCrossSite?: boolean;
	/** Recent messages, kept for readers that come back; `false` keeps none. @default kept in memory */
	replay?: ReplayOptions | ReplayStore | false;
	/**
	 * What several processes of your app share: `redisBackend(client)` of `sveltekit-inngest/redis`,
	 * `postgresBackend(pool)` of `sveltekit-inngest/postgres`. The bounds of `replay` apply to it.
	 * @default memory of this process
	 */
	backend?: RealtimeBackend;
	/**
	 * Milliseconds between two renewals of the leases that this process holds in the backend. Members of a
	 * process that died leave within twice that time. @default 5_000
	 */
	heartbeatMs?: number;
	/** How long, in milliseconds, a channel stays warm after its last reader. @default 300_000 */
	lingerMs?: number;
	/** How the socket to Inngest is opened, through a proxy for example. */
	upstream?: RealtimeUpstreamOptions;
	/**
	 * Most channels that stay warm without a reader, in this process. Beyond that, the one whose last reader
	 * left first is closed. @default 1_000
	 */
	maxWarmFeeds?: number;
	/**
	 * What streams share. `process`: one socket to Inngest. `request`: nothing, for hosts where a socket may not
	 * outlive its request. @default 'request' on Cloudflare Workers, else 'process'
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
	maxWarmFeeds: number | undefined;
	replay: ReplayOptions | ReplayStore | false;
	callbackTimeoutMs: number;
	allowCrossSite: boolean;
	dedupeMs: number;
	backend: RealtimeBackend | undefined;
	heartbeatMs: number;
	upstream: RealtimeUpstreamOptions;
	limits: RealtimeLimits & typeof DEFAULT_LIMITS;
}

const DEFAULT_LIMITS = {
	maxBufferedBytes: 1024 * 1024,
	maxStarting: 200,
	maxEvents: 1_000,
	maxSubscriptions: MAX_SUBSCRIPTIONS,
	maxTopics: 200,
	maxHistory: 1_000,
	maxNameLength: 512
};
/** The longest delay of a timer. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Fills in the defaults.
 *
 * @throws {RealtimeError} `INVALID_OPTION` for options that cannot work.
 */
export function readOptions(options: RealtimeEndpointOptions<never>): Settings {
	isObject('options', options);
	isObject('inngest', options.inngest);
	const { healthCheck = {}, limits = {}, recheckIntervalMs, lingerMs = 300_000 } = options;
	const { callbackTimeoutMs = CALLBACK_TIMEOUT_MS, reauthorizeOnEachMessage = false } = options;
	isObject('healthCheck', healthCheck);
	isObject('limits', limits);
	const intervalMs =
		healthCheck.enabled === false ? false : (healthCheck.intervalMs ?? DEFAULT_INTERVAL_MS);
	positive('healthCheck.intervalMs', healthCheck.intervalMs);
	positive('recheckIntervalMs', recheckIntervalMs);
	positive('callbackTimeoutMs', callbackTimeoutMs);
	positive('dedupeMs', options.dedupeMs);
	positive('maxWarmFeeds', options.maxWarmFeeds);
	if ('reauthorizeIntervalMs' in options) {
		invalid('`reauthorizeIntervalMs` is now called `recheckIntervalMs`; rename it.');
	}
	const { key: keyOf, rate, pressure = {}, ...bounds } = limits;
	positive('limits.rate.points', rate?.points);
	positive('limits.rate.intervalMs', rate?.intervalMs);
	positive('limits.rate.blockMs', rate?.blockMs);
	isFunction('limits.rate.key', rate?.key);
	isObject('limits.pressure', pressure);
	for (const [name, value] of Object.entries(pressure)) {
		if (!PRESSURE_LIMITS.includes(name)) {
			invalid(`\`limits.pressure.${name}\` is not a limit: use ${PRESSURE_LIMITS.join(', ')}.`);
		}
		positive(`limits.pressure.${name}`, value);
	}
	if ((pressure.eventLoopUtilization ?? 0) > 1) {
		invalid(
			`\`limits.pressure.eventLoopUtilization\` must be a part of the time, 0 to 1, not ${pressure.eventLoopUtilization}.`
		);
	}
	positive('heartbeatMs', options.heartbeatMs);
	for (const [name, value] of Object.entries(bounds)) positive(`limits.${name}`, value);
	isFunction('limits.key', keyOf);
	isFunction('identify', options.identify);
	isFunction('onEvent', options.onEvent);
	isFunction('onFailure', options.onFailure);
	checkReplay('replay', options.replay);
	if (!['process', 'request', undefined].includes(options.scope)) {
		invalid(`\`scope\` must be "process" or "request", not ${String(options.scope)}.`);
	}
	const { agent, WebSocket } = options.upstream ?? {};
	if (agent !== undefined && typeof agent !== 'object') {
		invalid('`upstream.agent` is not an agent: pass an `http.Agent`, or the agent of a proxy.');
	}
	if (WebSocket !== undefined && typeof WebSocket !== 'function') {
		invalid('`upstream.WebSocket` is not a class: pass the class itself, without `new`.');
	}
	if (!(lingerMs >= 0)) invalid(`\`lingerMs\` must be zero or more milliseconds, not ${lingerMs}.`);
	for (const [key, config] of Object.entries<RealtimeChannelConfig>(options.channels ?? {})) {
		if (!config?.channel?.topics) {
			invalid(`\`channels.${key}.channel\` is not a channel of @inngest/realtime or inngest.`);
		}
		if (typeof config.authorize !== 'function') {
			invalid(`\`channels.${key}.authorize\` is missing: it decides who may read the channel.`);
		}
		isFunction(`channels.${key}.reauthorize`, config.reauthorize);
		checkPriority(`channels.${key}`, config.priority);
		isFunction(`channels.${key}.view`, config.view);
		checkReplay(`channels.${key}.replay`, config.replay);
		checkReplay(`channels.${key}.retention`, config.retention);
		if (config.warm) checkWarm(key, config);
		for (const topic of Object.keys(config.latest ?? {})) {
			const topics = Object.keys(config.channel.topics);
			if (topics.length === 0 || topics.includes(topic)) continue;
			invalid(`\`channels.${key}.latest\` names "${topic}", which is not a topic of the channel.`);
		}
		if (config.presence) checkPresence(key, config.presence, options.scope);
		warnOf(key, config, reauthorizeOnEachMessage);
	}
	if (!options.channels || Object.keys(options.channels).length === 0) {
		invalid('`channels` is empty: name at least one channel that can be asked for.');
	}
	checkEvents(options.events ?? {});
	return {
		intervalMs,
		recheckMs: recheckIntervalMs ?? false,
		reauthorizeOnEachMessage,
		lingerMs: Math.min(lingerMs, MAX_TIMER_MS),
		maxWarmFeeds: options.maxWarmFeeds,
		replay: options.replay ?? {},
		callbackTimeoutMs: Math.min(callbackTimeoutMs, MAX_TIMER_MS),
		allowCrossSite: options.allowCrossSite ?? false,
		dedupeMs: options.dedupeMs ?? 24 * 60 * 60 * 1_000,
		backend: readBackend(options),
		heartbeatMs: options.heartbeatMs ?? 5_000,
		upstream: options.upstream ?? {},
		limits: { ...DEFAULT_LIMITS, ...withoutUndefined(limits) }
	};
}

/** The app's own store would replace the backend's log, which carries what the bus announces. */
function readBackend({
	backend,
	replay
}: Pick<RealtimeEndpointOptions, 'backend' | 'replay'>): RealtimeBackend | undefined {
	if (backend === undefined) return undefined;
	if (typeof backend?.name !== 'string') {
		invalid('`backend` is not a backend: pass what redisBackend() or postgresBackend() returns.');
	}
	if (backend.bus && !backend.replay) {
		invalid(
			`The backend "${backend.name}" has a bus but no replay: a bus announces what is in the replay log.`
		);
	}
	if (!backend.bus || !replay || !('append' in replay)) return backend;
	return invalid(
		`\`replay\` is a store, but the backend "${backend.name}" carries messages in its own log: give \`replay\` bounds, or leave it out.`
	);
}

/** Checks the entries of `events`. */
function checkEvents(events: Readonly<Record<string, RealtimeEventConfig>>): void {
	const keys = new Map<string, string>();
	for (const [key, config] of Object.entries(events)) {
		const at = `events.${key}`;
		if (!config?.event?.schema?.['~standard']) {
			invalid(`\`${at}.event\` is not an event: pass what defineEvent() returns.`);
		}
		if (typeof config.authorize !== 'function') {
			invalid(`\`${at}.authorize\` is missing: it decides who may send the event.`);
		}
		isFunction(`${at}.run`, config.run);
		checkPriority(at, config.priority);
		positive(`${at}.timeoutMs`, config.timeoutMs);
		positive(`${at}.dedupeMs`, config.dedupeMs);
		positive(`${at}.rate.points`, config.rate?.points);
		positive(`${at}.rate.intervalMs`, config.rate?.intervalMs);
		positive(`${at}.rate.blockMs`, config.rate?.blockMs);
		zeroOrMore(`${at}.cost`, config.cost);
		for (const [version, step] of Object.entries(config.upgrade ?? {})) {
			isFunction(`${at}.upgrade[${version}]`, step);
		}
		const { name } = config.event;
		const other = keys.get(name);
		if (other !== undefined) {
			invalid(`\`${at}\` and \`events.${other}\` are both called "${name}": rename one of them.`);
		}
		keys.set(name, key);
	}
}

function checkPriority(at: string, priority: RealtimePriority | undefined): void {
	if (['critical', 'normal', 'background', undefined].includes(priority)) return;
	invalid(
		`\`${at}.priority\` must be "critical", "normal" or "background", not ${String(priority)}.`
	);
}

/** Warns about options that are allowed but surely a mistake. */
function warnOf(key: string, config: RealtimeChannelConfig, isEachMessageChecked: boolean): void {
	if (config.reauthorize && !(config.reauthorizeOnEachMessage ?? isEachMessageChecked)) {
		console.warn(
			`[sveltekit-inngest] \`channels.${key}.reauthorize\` is never called, because per-message checks are off: set \`reauthorizeOnEachMessage: true\` for this channel or for the endpoint, or remove \`reauthorize\`.`
		);
	}
	const fixed = fixedChannel(config);
	if (fixed instanceof Error) {
		console.warn(
			`[sveltekit-inngest] No page can ask for \`channels.${key}\`: its channel has parameters, and there is no \`channelParams\` that reads them from the requested name. ${fixed.message}`
		);
	}
}

function checkPresence(
	key: string,
	presence: RealtimePresenceOptions,
	scope: RealtimeEndpointOptions['scope']
): void {
	const { member, schema, maxMembers, graceMs, cost, onJoin, onLeave, onFull } = presence;
	const name = `channels.${key}.presence`;
	if (scope === 'request') {
		invalid(`\`${name}\` needs streams that share a process: \`scope\` must not be "request".`);
	}
	positive(`${name}.maxMembers`, maxMembers);
	zeroOrMore(`${name}.graceMs`, graceMs);
	zeroOrMore(`${name}.cost`, cost);
	for (const [option, value] of Object.entries({ member, onJoin, onLeave, onFull })) {
		isFunction(`${name}.${option}`, value);
	}
	if (schema !== undefined && !('~standard' in schema)) {
		invalid(`\`${name}.schema\` is not a schema: it must follow Standard Schema, as zod's do.`);
	}
}

/** A channel can be kept warm only if its name does not depend on a request. */
function checkWarm(key: string, config: RealtimeChannelConfig): void {
	const fixed = fixedChannel(config);
	if (fixed && !(fixed instanceof Error) && fixed.topics.length > 0) return;
	invalid(
		`\`channels.${key}.warm\` needs a channel with a fixed name and listed topics: remove \`warm\`, or give \`channelParams\` as a value.`
	);
}

/** The channel of an entry without a resolver, or why it has no name; `undefined` with a resolver. */
function fixedChannel({
	channel,
	channelParams
}: RealtimeChannelConfig): ResolvedChannel | Error | undefined {
	if (typeof channelParams === 'function') return undefined;
	try {
		return resolveChannel(channel, channelParams);
	} catch (error) {
		return error as Error;
	}
}

function withoutUndefined<T extends object>(
	value: T
): { [K in keyof T]: Exclude<T[K], undefined> } {
	return Object.fromEntries(
		Object.entries(value).filter(([, entry]) => entry !== undefined)
	) as never;
}

function isFunction(name: string, value: unknown): void {
	if (value === undefined || typeof value === 'function') return;
	invalid(`\`${name}\` must be a function, not ${typeof value}.`);
}

function isObject(name: string, value: unknown): void {
	if (typeof value === 'object' && value !== null) return;
	invalid(`\`${name}\` must be an object, not ${value}.`);
}

/** Bounds, a store, or `false` for none. */
function checkReplay(name: string, replay: ReplayOptions | ReplayStore | false | undefined): void {
	if (replay === undefined || replay === false) return;
	isObject(name, replay);
	if ('append' in replay) return;
	for (const bound of ['maxEvents', 'maxAgeMs', 'maxBytes'] as const) {
		zeroOrMore(`${name}.${bound}`, replay[bound]);
	}
}

function zeroOrMore(name: string, value: number | undefined): void {
	if (value === undefined || (typeof value === 'number' && value >= 0)) return;
	invalid(`\`${name}\` must be zero or more, not ${value}.`);
}

function positive(name: string, value: number | undefined): void {
	if (value === undefined || (typeof value === 'number' && value > 0)) return;
	invalid(
		`\`${name}\` must be a positive number, not ${typeof value === 'string' ? quoted(value) : String(value)}.`
	);
}

function invalid(message: string): never {
	throw new RealtimeError('INVALID_OPTION', message);
}
