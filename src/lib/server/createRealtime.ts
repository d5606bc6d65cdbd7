import type { RequestEvent, RequestHandler } from '@sveltejs/kit';
import { resolveChannel, type ChannelLike, type ChannelParams } from '../protocol/channel.js';
import type { RUN_TOPIC } from '../protocol/constants.js';
import { RealtimeError } from '../protocol/errors.js';
import type { EventDefinition } from '../protocol/event.js';
import { quoted } from '../protocol/quote.js';
import type { PresenceData, RealtimeMember } from '../protocol/presence.js';
import type { RealtimeRequestParams, SubscriptionRequest } from '../protocol/request.js';
import type {
	Positioned,
	RealtimeTopicEnvelope,
	RealtimeTopicMessage,
	TopicKey
} from '../protocol/types.js';
import type { RealtimeChannelConfig, RequestableTopic } from './access/options.js';
import { Registry } from './access/registry.js';
import { checkSite, parseGet, parsePost, type ParsedBody } from './access/request.js';
import { readKey } from './access/admission.js';
import { createView, type View } from './access/view.js';
import { readIdentity } from './access/identity.js';
import type { Published, RealtimeBackend } from './backend/backend.js';
import { guardBackend, retainBackend } from './backend/guard.js';
import { MemoryIdempotencyStore } from './backend/memoryIdempotency.js';
import { feedCursor } from './cursor.js';
import { emit, type RealtimeEmit, type RealtimeEmitOptions, type RealtimePublish } from './emit.js';
import { Events, type HandlerEmit } from './events/events.js';
import { Once } from './events/once.js';
import type { RealtimeEventConfig, RealtimeOnce } from './events/options.js';
import { Failure, TEXT } from './failure/failure.js';
import { createReport, type Report } from './failure/report.js';
import type { BusyChannel, HubStats } from './hub/hub.js';
import type { FeedSpec } from './hub/source.js';
import { readHistory, type RealtimeHistory, type RealtimeHistoryRange } from './history.js';
import { Hubs } from './hubs.js';
import { publish } from './inngest/publish.js';
import type { PublishData, PublishTarget } from './inngest/target.js';
import { People, type RealtimeAskOptions, type RealtimeTarget } from './people.js';
import { readOptions, type RealtimeEndpointOptions, type Settings } from './options.js';
import { closeAfter, outlive, refusal, Responder } from './respond.js';
import { currentLoad, replaceReloaded } from './runtime/reload.js';
import { isBuild, isWorkerd } from './runtime/runtime.js';
import { loadTracing } from './runtime/spans.js';
import { EndpointMeters } from './metrics/endpointMeters.js';
import type { RealtimeMetric } from './metrics/metric.js';
import { readMetrics } from './metrics.js';
import { Pressure, type PressureReading, type RealtimePriority } from './access/pressure.js';
import { onShutdown } from './runtime/shutdown.js';
import { FeedIterator, unseen, type RealtimeIterator, type RealtimeResync } from './subscribe.js';
import { warmFeeds } from './warm.js';

/** The state of a realtime endpoint. */
export interface RealtimeStats {
	/** Open streams of this endpoint. */
	streams: number;
	/** Batches of messages given to readers of this endpoint. */
	deliveries: number;
	/** Chunks written to readers of this endpoint: messages, health and comments. */
	chunks: number;
	/** Readers of this endpoint that were closed because they did not keep up. */
	slowReaders: number;
	/** Bytes written to readers of this endpoint. */
	bytes: number;
	/** The 20 channels of the hub that recently had the most messages per second, busiest first. */
	busiest: readonly BusyChannel[];
	/** The latest measurements if `limits.pressure` is set; a `level` of 1 is at the nearest limit. */
	pressure: PressureReading & { level: number };
	/** The hub behind it, which all endpoints of one Inngest client share. */
	hub: HubStats;
}

/** Channels that `stats().busiest` lists. */
const BUSIEST = 20;

/** Default duration of `drain`, in milliseconds. */
const DRAIN_MS = 10_000;

/** A realtime endpoint and its controls. */
export interface Realtime<
	TChannels extends Record<string, ChannelLike> = Record<string, ChannelLike>,
	TEvents extends Record<string, EventDefinition> = Record<string, EventDefinition>
> {
	/** A type without a value: what the endpoint serves, for code that builds on it. */
	readonly $types?: { channels: TChannels; events: TEvents };
	/** Serves a plain `EventSource` and `curl -N`: one channel, named in the query. */
	GET: RequestHandler;
	/** Serves `<RealtimeManager>`. */
	POST: RequestHandler;
	/**
	 * Iterates over the messages of a channel in this process, from the feed that serves the browsers. It
	 * authorizes nobody: that is up to the caller. If messages may be missing, an item of kind `resync` says so.
	 * A slow consumer continues from the replay log, as a browser does.
	 *
	 * @throws {RealtimeError} `CLOSED` when the endpoint was closed, `UNKNOWN_TOPIC` for a topic that the
	 *   channel does not define, `INVALID_OPTION` when `history` is not a number of messages; from `next()`,
	 *   `UPSTREAM` when Inngest cannot be reached at first, `DENIED` or `HANDLER` when the `view` for
	 *   `event` denies or fails.
	 * @example
	 * ```ts
	 * for await (const item of realtime.subscribe(demoChannel, { signal: request.signal })) {
	 *   if (item.kind !== 'resync') console.log(item.topic, item.data);
	 * }
	 * ```
	 */
	subscribe<
		TChannel extends ChannelLike,
		const TTopic extends RequestableTopic<TChannel> = TopicKey<TChannel>
	>(
		channel: TChannel,
		options?: RealtimeSubscribeOptions<TChannel, TTopic>
	): RealtimeIterator<RealtimeItem<TChannel, TTopic>>;
	/**
	 * Publishes a message from code that is not an Inngest function: a form action, a `load`. The data is
	 * validated as JSON, in the form that readers get.
	 *
	 * @param topic A topic of a channel: `demoChannel().message`, or `chat.message` of inngest 4.
	 * @throws {RealtimeError} `INVALID_MESSAGE` when the data cannot be sent as JSON, is larger than 512 KiB, or
	 *   does not match the topic's schema as JSON; `INVALID_OPTION` if `topic` is not a topic; `UNSUPPORTED` if
	 *   the Inngest client cannot publish; `UPSTREAM` when Inngest refuses.
	 * @example
	 * ```ts
	 * await realtime.publish(demoChannel().message, { message: 'hello' });
	 * ```
	 */
	publish: RealtimePublish;
	/**
	 * Publishes a message without going through Inngest: to every process that shares the `backend`, in the same
	 * log and with the same kind of cursors as messages from Inngest.
	 *
	 * @param topic A topic of a registered channel: `demoChannel().message`, or `chat.message` of inngest 4.
	 * @returns its cursor, and whether its key was emitted before, in which case nothing was published.
	 * @throws {RealtimeError} `INVALID_MESSAGE` when the data cannot be sent as JSON, is larger than 512 KiB or
	 *   does not match the topic's schema, `INVALID_OPTION` if `topic` or `tx` is not valid, `UNKNOWN_CHANNEL`
	 *   for a channel that is not registered, or whose topic several entries share, `BACKEND` when the backend
	 *   is unavailable or the replay store fails (emit again with the error's `key`), `CLOSED` when the endpoint
	 *   was closed, `UNSUPPORTED` if streams share nothing (`scope: 'request'` without a backend), and for `tx`
	 *   if the backend is not that database.
	 * @example
	 * ```ts
	 * const { cursor } = await realtime.emit(demoChannel().message, { message: 'hello' });
	 * ```
	 */
	emit: RealtimeEmit;
	/**
	 * Erases the stored messages of a channel, in every process. Its readers get a `resync`.
	 *
	 * @throws {RealtimeError} `BACKEND` when the backend is unavailable, `UNKNOWN_TOPIC` for a topic that the
	 *   channel does not define, `UNSUPPORTED` if the store has no `clear`, or if streams share nothing (`scope:
	 *   'request'`).
	 * @example
	 * ```ts
	 * await realtime.clear(demoChannel);
	 * ```
	 */
	clear<TChannel extends ChannelLike>(
		channel: TChannel,
		options?: RealtimeCursorOptions<TChannel>
	): Promise<void>;
	/**
	 * The current position in a channel: a page that starts from it misses nothing. Makes sure first that the
	 * channel is live, and keeps it warm for `lingerMs`. In a form action, call it before `inngest.send()`; in
	 * `load`, before you read the database. The page then uses it as the `since` of its subscription.
	 *
	 * It resolves within 3 seconds, even when Inngest cannot be reached. The page then gets a `resync`, because
	 * messages may be missing.
	 *
	 * @throws {RealtimeError} `UNKNOWN_TOPIC` for a topic that the channel does not define, `CLOSED` when
	 *   the endpoint was closed.
	 * @example
	 * ```ts
	 * const since = await realtime.cursor(demoChannel);
	 * await inngest.send({ name: 'app/demo.message', data: { message: 'hello' } });
	 * ```
	 */
	cursor<TChannel extends ChannelLike>(
		channel: TChannel,
		options?: RealtimeCursorOptions<TChannel>
	): Promise<string>;
	/**
	 * Runs `fn` once for a key and remembers its result, as JSON: for webhooks and form actions that may arrive
	 * twice. Another call with the same key returns the same result. If two processes that share a `backend`
	 * call it at the same time, the second waits for the first. If `fn` fails, the key may run again.
	 *
	 * @throws {RealtimeError} `BACKEND` when the backend is unavailable, `INVALID_MESSAGE` when the result is larger
	 *   than the backend can remember (2 MB on Cloudflare); and what `fn` throws.
	 * @example
	 * ```ts
	 * const { orderId } = await realtime.once(`stripe:${webhook.id}`, () => fulfil(webhook));
	 * ```
	 */
	once: RealtimeOnce;
	/**
	 * Messages of a channel that are still in its log, oldest first. With `since`, those that follow it;
	 * otherwise the newest. It authorizes nobody: that is up to the caller.
	 *
	 * @returns the messages; `cursor`, the position to read on from, also as the `since` of a
	 *   subscription; `missed` if messages after `since` are gone.
	 * @throws {RealtimeError} `BACKEND` when the backend that keeps the log is unavailable, `INVALID_OPTION` for
	 *   options that cannot work, `UNKNOWN_TOPIC` for a topic that the channel does not define, `CLOSED`
	 *   when the endpoint was closed, `DENIED` or `HANDLER` when the `view` for `event` denies or fails.
	 * @example
	 * ```ts
	 * const { messages, cursor } = await realtime.history(demoChannel, { limit: 20 });
	 * ```
	 */
	history<
		TChannel extends ChannelLike,
		const TTopic extends RequestableTopic<TChannel> = TopicKey<TChannel>
	>(
		channel: TChannel,
		options?: RealtimeHistoryOptions<TChannel, TTopic>
	): Promise<RealtimeHistory<RealtimeMessage<TChannel, TTopic>>>;
	/**
	 * The members of a channel with `presence`, in all processes, oldest first.
	 *
	 * @throws {RealtimeError} `BACKEND` when the backend is unavailable and nobody reads the channel here.
	 * @example
	 * ```ts
	 * const members = await realtime.members(boardChannel);
	 * ```
	 */
	members<TChannel extends ChannelLike>(
		channel: TChannel,
		options?: RealtimeMembersOptions<TChannel>
	): Promise<RealtimeMember<PresenceData<TChannel>>[]>;
	/**
	 * Whether a member has an open stream, in any process.
	 *
	 * @param memberId The id that `identify` or `presence.member` returned.
	 * @throws {RealtimeError} `BACKEND` when the other processes cannot be asked.
	 */
	isOnline(memberId: string): Promise<boolean>;
	/**
	 * How many streams read a channel, in all processes; with or without `presence`.
	 *
	 * @throws {RealtimeError} `BACKEND` when the other processes cannot be asked.
	 */
	readers<TChannel extends ChannelLike>(
		channel: TChannel,
		options?: RealtimeMembersOptions<TChannel>
	): Promise<number>;
	/**
	 * Ends a member's streams of a channel for good, in all processes: the page gets a fatal `degraded` with the
	 * reason and status 403. After a reload, `authorize` decides again.
	 *
	 * @returns the number of streams.
	 * @throws {RealtimeError} `BACKEND` when the other processes cannot be reached; those of this process are ended all the same.
	 */
	remove<TChannel extends ChannelLike>(
		channel: TChannel,
		memberId: string,
		reason: string,
		options?: RealtimeMembersOptions<TChannel>
	): Promise<number>;
	/**
	 * Ends a channel for all its readers for good, in all processes: the page gets a fatal `degraded` with the
	 * reason and status 410.
	 *
	 * @returns the number of streams.
	 * @throws {RealtimeError} `BACKEND` when the other processes cannot be reached; those of this process are ended all the same.
	 */
	end<TChannel extends ChannelLike>(
		channel: TChannel,
		reason: string,
		options?: RealtimeMembersOptions<TChannel>
	): Promise<number>;
	/**
	 * Sends a message only to the streams of one member, or of everybody with certain attributes. Only streams
	 * that read the topic get it. It is in no log, so nobody gets it later.
	 *
	 * The id is trusted: make sure that it is the right one.
	 *
	 * @param target An id, or attributes that `identify` returned: `{ role: 'admin' }`.
	 * @returns the number of streams that it was sent to.
	 * @throws {RealtimeError} as `emit` does.
	 * @example
	 * ```ts
	 * await realtime.emitTo('alice', chatChannel().notice, { text: 'Your export is ready' });
	 * ```
	 */
	emitTo<TTopic extends PublishTarget>(
		target: RealtimeTarget,
		topic: TTopic,
		data: PublishData<TTopic>
	): Promise<number>;
	/**
	 * Asks the pages of a member something. Resolves with the result of a handler of `onAsk`. The first answer
	 * wins.
	 *
	 * The id is trusted: make sure that it is the right one.
	 *
	 * @throws {RealtimeError} `NOBODY` when the member has no open stream, `DENIED` when none of its streams
	 *   reads the topic, `TIMEOUT`, `HANDLER` when the handler threw; and as `emit` does.
	 * @example
	 * ```ts
	 * const isSure = await realtime.ask('alice', chatChannel().confirm, { text: 'Delete it?' });
	 * ```
	 */
	ask<TTopic extends PublishTarget>(
		memberId: string,
		topic: TTopic,
		data: PublishData<TTopic>,
		options?: RealtimeAskOptions
	): Promise<unknown>;
	/**
	 * Blocks a sender for a while, in all processes that share the backend: open streams end, and new requests
	 * get 429.
	 *
	 * @param key An id that `identify` returned, a client's address, or a result of `limits.rate.key`. @param ms
	 *   Duration in milliseconds.
	 * @throws {RealtimeError} `BACKEND` when the other processes cannot be reached; this process blocks the
	 *   sender all the same.
	 */
	ban(key: string, ms: number): Promise<void>;
	/** Unblocks a sender. @throws {RealtimeError} as `ban` does. */
	unban(key: string): Promise<void>;
	/**
	 * Asks `authorize` again now about the open streams of a member, or of everybody, in all processes. Streams
	 * that may not read any more end at once.
	 *
	 * @throws {RealtimeError} `BACKEND` when the other processes cannot be reached; the streams of this process
	 *   are checked all the same.
	 */
	recheck(memberId?: string): Promise<void>;
	stats(): RealtimeStats;
	/**
	 * All metrics, with labels from a bounded set. `sveltekit-inngest/prometheus` gives them to a metrics
	 * library. Counters start with the process. Those of the hub count all endpoints of one Inngest client.
	 */
	metrics(): RealtimeMetric[];
	/**
	 * Ends the open streams of this process one after the other, so that their pages do not all come back to
	 * the other processes at once. Meanwhile and afterwards `ready()` is `false` and new streams get 503.
	 * Events that pages send are still handled. Call it before the process is stopped.
	 *
	 * @param ms Duration in milliseconds. @default 10_000
	 * @returns a promise that resolves when the last stream has ended.
	 * @throws {RealtimeError} `INVALID_OPTION` if `ms` is not a duration.
	 * @example
	 * ```ts
	 * await realtime.drain(20_000);
	 * ```
	 */
	drain(ms?: number): Promise<void>;
	/**
	 * Whether new streams are accepted: for a readiness check. `false` while the process is under pressure,
	 * drains, or stops.
	 */
	ready(): boolean;
	/**
	 * Whether work of a priority is accepted now: for your other routes, if they should give way while the
	 * process is under pressure (`limits.pressure`).
	 *
	 * @throws {RealtimeError} `INVALID_OPTION` if it is not a priority.
	 */
	accepts(priority: RealtimePriority): boolean;
	/** Ends all streams and releases the connection to Inngest. Requests get 503 from then on. */
	close(): void;
}

/** The reader that server code reads for. */
export interface RealtimeViewerOptions {
	/**
	 * The request of the reader: messages are shown as the `view` of the channel's entry shows them to it.
	 * @default server code sees every message as it is
	 */
	event?: RequestEvent;
	/** The `params` for the `view`. @default {} */
	params?: RealtimeRequestParams;
}

/** Names the channel. */
export interface RealtimeMembersOptions<TChannel extends ChannelLike> {
	/** Parameters of the channel's builder. */
	channelParams?: ChannelParams<TChannel>;
}

/** Options of `cursor`. */
export interface RealtimeCursorOptions<TChannel extends ChannelLike> {
	/** Parameters of the channel's builder. */
	channelParams?: ChannelParams<TChannel>;
	/**
	 * Topics that the page will read; only a `typeOnlyChannel`, which lists none, needs them.
	 * @default all topics of the channel
	 */
	topics?: readonly RequestableTopic<TChannel>[];
}

/** Options of `subscribe`. It starts from either a cursor or a number of messages. */
export type RealtimeSubscribeOptions<
	TChannel extends ChannelLike,
	TTopic extends string
> = RealtimeViewerOptions & {
	/** @default all topics of the channel */
	topics?: readonly TTopic[];
	/** Parameters of the channel's builder. */
	channelParams?: ChannelParams<TChannel>;
	/** Ends the iteration. */
	signal?: AbortSignal;
	/** Cursor of the last item that was handled; the items after it come first. */
	lastEventId?: string;
} & (
		| {
				/** Cursor to start from if there is no `lastEventId`, such as a result of `cursor()`. */
				since?: string;
				history?: undefined;
		  }
		| {
				/** Number of recent messages that come first if there is no `lastEventId`. */
				history?: number;
				since?: undefined;
		  }
	);

/** A message of some topics of a channel, with its position. */
export type RealtimeMessage<TChannel extends ChannelLike, TTopic extends string> =
	| Positioned<RealtimeTopicMessage<TChannel, TTopic & TopicKey<TChannel>>>
	| (typeof RUN_TOPIC extends TTopic ? Positioned<RealtimeTopicEnvelope<typeof RUN_TOPIC>> : never);

/** What `subscribe` yields. */
export type RealtimeItem<TChannel extends ChannelLike, TTopic extends string> =
	RealtimeMessage<TChannel, TTopic> | RealtimeResync;

/** Options of `history`. */
export type RealtimeHistoryOptions<
	TChannel extends ChannelLike,
	TTopic extends string
> = RealtimeHistoryRange &
	RealtimeViewerOptions & {
		/** Parameters of the channel's builder. */
		channelParams?: ChannelParams<TChannel>;
		/** @default all topics of the channel */
		topics?: readonly TTopic[];
	};

/**
 * Creates a realtime endpoint with its controls.
 *
 * @param options See {@link RealtimeEndpointOptions}.
 * @throws {RealtimeError} `INVALID_OPTION` for options that cannot work.
 * @example
 * ```ts
 * // src/routes/api/events/+server.ts
 * export const { GET, POST } = createRealtime({
 *   inngest,
 *   channels: { demo: { channel: demoChannel, authorize: ({ locals }) => locals.user !== null } }
 * });
 * ```
 */
export function createRealtime<
	const TChannels extends Record<string, ChannelLike>,
	const TEvents extends Record<string, EventDefinition> = Record<string, EventDefinition>
>(options: RealtimeEndpointOptions<TChannels, TEvents>): Realtime<TChannels, TEvents> {
	const isShared = (options.scope ?? (isWorkerd ? 'request' : 'process')) === 'process';
	const settings = reachable(
		readOptions(options as unknown as RealtimeEndpointOptions<never>),
		isShared
	);
	const { inngest, identify } = options;
	const { limits, callbackTimeoutMs, allowCrossSite } = settings;
	const hubs = new Hubs(inngest, settings, isShared);
	const meters = new EndpointMeters();
	const pressure = new Pressure(limits.pressure);
	const tell = createReport(options.onFailure, callbackTimeoutMs);
	const report: Report = (failure, place) => {
		meters.failures.of(failure.stage, String(failure.status)).value++;
		return tell(failure, place);
	};
	const stopReporting = reportBackend(settings.backend, report);
	const releaseBackend = settings.backend && retainBackend(settings.backend);
	const registry = new Registry(
		options.channels as unknown as Record<string, RealtimeChannelConfig>,
		{ callbackTimeoutMs, report }
	);
	const people = new People({
		settings,
		registry,
		rate: limits.rate,
		report,
		rateLimited: (kind) => meters.rateLimited.of(kind).value++,
		isShared,
		open: () => responder.open
	});
	const { rates, presence } = people;
	const responder: Responder = new Responder({
		settings,
		registry,
		identify,
		rates,
		presence,
		hubs,
		meters,
		pressure,
		report,
		started: () => people.enterFleet(),
		changed: (stream) => people.changed(stream),
		ended: (stream) => people.ended(stream),
		checkOpen: checkTaking
	});
	void loadTracing();
	const guarded = settings.backend && guardBackend(settings.backend);
	const events = new Events({
		events: (options.events ?? {}) as unknown as Record<string, RealtimeEventConfig>,
		app: inngest.id,
		once: new Once(guarded?.idempotency ?? new MemoryIdempotencyStore()),
		rates,
		onEvent: options.onEvent,
		meters,
		checkPressure: (priority) => pressure.check(priority),
		report,
		callbackTimeoutMs,
		dedupeMs: settings.dedupeMs,
		maxEvents: limits.maxEvents,
		async identify(event) {
			const identity = await readIdentity(identify, event, callbackTimeoutMs);
			const options = { key: limits.key, timeoutMs: callbackTimeoutMs };
			const key = await readKey(event, identity, options);
			return { identity, key, address: await rates.senderOf(event, identity) };
		},
		tools: (handler) => ({
			emit: (topic: PublishTarget, data: unknown, options?: RealtimeEmitOptions) =>
				emitFrom(topic, data, options, handler),
			publish: (topic: PublishTarget, data: unknown) =>
				publish(inngest, registry, topic, data, handler.clientEventId)
		}),
		inngest
	});
	const iterators = new Set<FeedIterator>();
	const stopWarming = hubs.shared ? warmFeeds(hubs.shared, registry) : () => {};
	let state: 'open' | 'stopping' | 'closed' = 'open';
	let draining: Promise<void> | undefined;

	/** @throws {Failure} `stream` 503 once no new streams are accepted. */
	function checkOpen(): void {
		if (state === 'open') return;
		const text = state === 'stopping' ? TEXT.stopping : TEXT.closed;
		throw new Failure('stream', 503, text, { headers: { 'retry-after': '1' } });
	}

	/** @throws {Failure} `stream` 503 once no new streams are accepted, also while they are drained. */
	function checkTaking(): void {
		checkOpen();
		if (!draining) return;
		throw new Failure('stream', 503, TEXT.stopping, { headers: { 'retry-after': '1' } });
	}

	/** @throws {RealtimeError} `CLOSED` once nothing can be read any more. */
	function checkReadable(channel: string): void {
		if (state !== 'open') throw closed(`Channel ${quoted(channel)} cannot be read`);
	}

	function isTaking(): boolean {
		return state === 'open' && !draining;
	}

	/** `emit`, for the handler of an event if there is one. */
	async function emitFrom(
		topic: PublishTarget,
		data: unknown,
		options?: RealtimeEmitOptions,
		handler?: HandlerEmit
	): Promise<Published> {
		if (state === 'closed') throw closed('Nothing can be emitted');
		const hub = hubs.acquire();
		if (!hubs.shared && !hub.isExchanging) {
			throw new RealtimeError(
				'UNSUPPORTED',
				'emit() reaches nobody, because streams share nothing (`scope: "request"` without a backend); use publish().'
			);
		}
		return emit(hub, registry, topic, data, options, handler);
	}

	async function answer(
		event: RequestEvent,
		parse: () => ParsedBody | Promise<ParsedBody>
	): Promise<Response> {
		const handled = handle(event, parse);
		// A client that leaves meanwhile ends nothing in the middle.
		outlive(event, handled);
		const response = await handled;
		// On a connection that is kept alive, a page would come back to this process again and again.
		if (!isTaking()) closeAfter(event, response.headers);
		return response;
	}

	async function handle(
		event: RequestEvent,
		parse: () => ParsedBody | Promise<ParsedBody>
	): Promise<Response> {
		let parsed: ParsedBody | undefined;
		try {
			checkOpen();
			settings.backend?.use?.(event.platform);
			if (!allowCrossSite) checkSite(event.request);
			replaceReloaded(event.route?.id ?? null, lifecycle);
			parsed = await parse();
			if (parsed.kind === 'event') return await events.handle(event, parsed.event);
			if (parsed.kind === 'read') return await responder.history(event, parsed.read);
			if (parsed.kind === 'presence') {
				return await responder.update(event, parsed.presence, people.take);
			}
			if (parsed.kind === 'answer') {
				const { id, ...reply } = parsed.answer;
				return await responder.answer(event, (identityId) => people.reply(id, reply, identityId));
			}
			return await responder.respond(event, parsed);
		} catch (error) {
			const subscription = parsed && subscriptionOf(parsed);
			return refusal(event, error, report, subscription);
		}
	}

	/** The `view` of the reader that server code reads a channel for. */
	function viewFor(
		{ entry }: FeedSpec,
		{ event, params = {} }: RealtimeViewerOptions
	): View | undefined {
		const config = registry.entries.get(entry);
		if (!config || !event) return undefined;
		return createView(config, { event, params }, callbackTimeoutMs);
	}

	function subscribe(
		channel: ChannelLike,
		options: RealtimeSubscribeOptions<ChannelLike, string> = {}
	): FeedIterator {
		const { feed, topics } = registry.feedOf(channel, options);
		checkReadable(feed.channel);
		const { history = 0 } = options;
		if (!(history >= 0)) {
			throw new RealtimeError(
				'INVALID_OPTION',
				`\`history\` must be a number of messages, not ${history}.`
			);
		}
		const hub = hubs.acquire();
		hubs.hold(hub);
		const iterator = new FeedIterator(hub, feed, {
			topics: new Set(topics),
			report,
			view: viewFor(feed, options),
			signal: options.signal,
			onEnd: () => {
				iterators.delete(iterator);
				hubs.release(hub);
			}
		});
		iterators.add(iterator);
		iterator.start({ after: options.lastEventId ?? options.since, history });
		return iterator;
	}

	async function cursor(
		channel: ChannelLike,
		options: RealtimeCursorOptions<ChannelLike> = {}
	): Promise<string> {
		const { feed } = registry.feedOf(channel, options);
		checkReadable(feed.channel);
		return hubs.use((hub) => feedCursor(hub, feed, report));
	}

	async function history(
		channel: ChannelLike,
		options: RealtimeHistoryOptions<ChannelLike, string> = {}
	): Promise<RealtimeHistory<Positioned<RealtimeTopicEnvelope>>> {
		const { feed, topics } = registry.feedOf(channel, options);
		checkReadable(feed.channel);
		const check = viewFor(feed, options);
		const range = { ...options, topics: new Set(topics), report, check };
		try {
			return await hubs.use((hub) => readHistory(hub, feed, range));
		} catch (error) {
			throw error instanceof Failure ? unseen(feed.channel, error, report) : error;
		}
	}

	const realtime: Realtime<TChannels, TEvents> = {
		GET: (event) => answer(event, () => parseGet(event.request, event.url, limits)),
		POST: (event) => answer(event, () => parsePost(event, limits)),
		subscribe: (channel, options) => subscribe(channel, options as never) as never,
		cursor,
		publish: (topic, data) => publish(inngest, registry, topic, data),
		emit: (topic, data, options) => emitFrom(topic, data, options),
		once: (key, fn, options) => events.once(key, fn, options),
		history: (channel, options) => history(channel, options as never) as never,
		async clear(channel, options = {}) {
			const { feed } = registry.feedOf(channel, options);
			const hub = hubs.acquire();
			if (!hubs.shared && !hub.isExchanging) {
				throw new RealtimeError(
					'UNSUPPORTED',
					`Nothing of channel ${quoted(feed.channel)} was erased: streams share nothing (\`scope: "request"\`), so no log can be reached.`
				);
			}
			await hub.clear(feed);
		},
		members: (channel, { channelParams } = {}) =>
			people.members(channel, channelParams) as Promise<never>,
		isOnline: async (target) => (await people.count({ target })) > 0,
		readers: (channel, { channelParams } = {}) =>
			people.count({ channel: resolveChannel(channel, channelParams).name }),
		remove: (channel, target, reason, { channelParams } = {}) =>
			people.end({ channel: resolveChannel(channel, channelParams).name, target }, reason, 403),
		end: (channel, reason, { channelParams } = {}) =>
			people.end({ channel: resolveChannel(channel, channelParams).name }, reason, 410),
		emitTo: (target, topic, data) => people.emitTo(target, topic, data),
		ask: (id, topic, data, options) => people.ask(id, topic, data, options),
		ban: (key, ms) => people.ban(key, ms),
		unban: (key) => people.ban(key, 0),
		recheck: (target) => people.recheck(target === undefined ? {} : { target }),
		stats: () => {
			const { deliveries, chunks, bytes, slowReaders } = meters;
			return {
				streams: responder.streams,
				deliveries,
				chunks,
				bytes,
				slowReaders,
				busiest: hubs.busiest(BUSIEST),
				pressure: { level: pressure.level, ...pressure.reading },
				hub: hubs.stats
			};
		},
		metrics: () => readMetrics({ meters, responder, hubs, presence, backend: guarded, pressure }),
		drain(ms = DRAIN_MS) {
			if (!(ms >= 0 && ms < Infinity)) {
				throw new RealtimeError(
					'INVALID_OPTION',
					`drain() needs zero or more milliseconds, not ${ms}.`
				);
			}
			stopWarming();
			return (draining ??= responder.drain(ms));
		},
		ready: () => isTaking() && pressure.accepts('normal'),
		accepts: (priority) => pressure.accepts(priority) && isTaking(),
		close() {
			if (state === 'closed') return;
			state = 'closed';
			stopListening();
			stopWarming();
			stopReporting();
			pressure.close();
			people.stop();
			responder.endStreams();
			events.close();
			people.close();
			for (const iterator of iterators) void iterator.return();
			hubs.close();
			releaseBackend?.();
		}
	};
	const endStreams = (): void => responder.endStreams();
	const lifecycle = { load: currentLoad(), endStreams, close: realtime.close };
	const stopListening = onShutdown({
		...lifecycle,
		endStreams() {
			state = 'stopping';
			stopWarming();
			hubs.drain();
			people.stop();
			endStreams();
		}
	});
	return realtime;
}

/** The only channel that a request names. */
function subscriptionOf(parsed: ParsedBody): SubscriptionRequest | undefined {
	if (parsed.kind === 'read') return parsed.read;
	return parsed.kind === 'stream' && parsed.isSingle ? parsed.subscriptions[0] : undefined;
}

/**
 * The settings without a backend that only a request's `event.platform` reaches, if the hub outlives
 * requests.
 */
function reachable(settings: Settings, isShared: boolean): Settings {
	const { backend } = settings;
	if (!isShared || !backend?.needsPlatform) return settings;
	if (!isBuild)
		console.info(
			`[sveltekit-inngest] The backend "${backend.name}" is used on Cloudflare only: here, the hub of this process serves all streams.`
		);
	return { ...settings, backend: undefined };
}

function closed(what: string): RealtimeError {
	return new RealtimeError('CLOSED', `${what}: this realtime endpoint was closed.`);
}

/** Tells the app when its backend is lost and when it is back. @returns a function that ends it. */
function reportBackend(backend: RealtimeBackend | undefined, report: Report): () => void {
	if (!backend) return () => {};
	const { name, breaker } = guardBackend(backend);
	return breaker.listen((state, cause) => {
		const text = state === 'closed' ? TEXT.backendBack(name) : TEXT.backendAway(name);
		report(new Failure('backend', 503, text, { cause }), {});
	});
}
