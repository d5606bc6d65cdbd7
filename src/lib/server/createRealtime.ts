import type { RequestEvent, RequestHandler } from '@sveltejs/kit';
import { resolveChannel, type ChannelLike, type ChannelParams } from '../protocol/channel.js';
import { RealtimeError } from '../protocol/errors.js';
import { RUN_TOPIC } from '../protocol/constants.js';
import type { SubscriptionRequest } from '../protocol/request.js';
import type {
	Positioned,
	RealtimeTopicEnvelope,
	RealtimeTopicMessage,
	TopicKey
} from '../protocol/types.js';
import { Admission } from './admission.js';
import { Authorization } from './authorization.js';
import { eachLimited } from './concurrency.js';
import { Connection, type ConnectionSettings } from './connection.js';
import { createReport, Failure, TEXT, type Report } from './failure.js';
import { Hub, sumStats, type HubStats } from './hub.js';
import { FeedIterator, type RealtimeIterator, type RealtimeResync } from './iterate.js';
import { captureContext, isWorkerd, onShutdown } from './node.js';
import {
	readOptions,
	type RealtimeChannelConfig,
	type RealtimeEndpointOptions,
	type RequestableTopic
} from './options.js';
import { publish, type PublishData, type PublishTarget } from './publish.js';
import { feedSource, resolveSubscription } from './registry.js';
import { currentLoad, replaceReloaded } from './reload.js';
import { parseGet, parsePost, type ParsedRequest } from './request.js';
import { degradedFrame, Subscription, type SubscriptionSpec } from './subscription.js';

/** How a realtime endpoint is doing. */
export interface RealtimeStats extends HubStats {
	/** Open streams of this endpoint. */
	streams: number;
	/** Chunks given to readers. */
	deliveries: number;
	/** Readers closed because they did not keep up. */
	slowReaders: number;
}

/** A realtime endpoint and its controls. */
export interface Realtime {
	/** Serves a plain `EventSource` and `curl -N`: one channel, named by the query. */
	GET: RequestHandler;
	/** Serves `<RealtimeManager>`. */
	POST: RequestHandler;
	/**
	 * Iterates over the messages of a channel in this process, from the feed that serves the browsers.
	 * Nobody is authorized: that is for the caller to do. Where messages may be missing an item of kind
	 * `resync` says so. A consumer that is slow goes on from the replay log, as a browser does.
	 *
	 * @throws {RealtimeError} from `next()`: `UPSTREAM` when Inngest cannot be reached at first, `CLOSED`
	 *   when the endpoint was closed, `UNKNOWN_TOPIC` for a topic that the channel does not define.
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
	 * Publishes a message from code that is not an Inngest function: a form action, a `load`.
	 *
	 * @param topic A topic of a channel: `demoChannel().message`, or `chat.message` of inngest 4.
	 * @throws {RealtimeError} `INVALID_MESSAGE` when the data does not match the topic's schema,
	 *   `UNSUPPORTED` where the Inngest client cannot publish, `UPSTREAM` when Inngest refuses.
	 * @example
	 * ```ts
	 * await realtime.publish(demoChannel().message, { message: 'hello' });
	 * ```
	 */
	publish<TTopic extends PublishTarget>(topic: TTopic, data: PublishData<TTopic>): Promise<void>;
	stats(): RealtimeStats;
	/** Ends all streams and lets go of the connection to Inngest; requests are answered with 503 from then on. */
	close(): void;
}

/** Options of `subscribe`. */
export interface RealtimeSubscribeOptions<TChannel extends ChannelLike, TTopic extends string> {
	/** @default all topics of the channel */
	topics?: readonly TTopic[];
	/** Parameters of the channel's builder. */
	channelParams?: ChannelParams<TChannel>;
	/** Ends the iteration. */
	signal?: AbortSignal;
	/** Cursor of the last item that was handled; what followed it comes first. */
	lastEventId?: string;
}

/** What `subscribe` yields. */
export type RealtimeItem<TChannel extends ChannelLike, TTopic extends string> =
	| Positioned<RealtimeTopicMessage<TChannel, TTopic & TopicKey<TChannel>>>
	| (typeof RUN_TOPIC extends TTopic ? Positioned<RealtimeTopicEnvelope<typeof RUN_TOPIC>> : never)
	| RealtimeResync;

const HEADERS = {
	'content-type': 'text/event-stream',
	'cache-control': 'no-store, no-transform',
	'x-accel-buffering': 'no'
} as const;

/** Delay, in milliseconds, after which a plain `EventSource` reconnects. */
const RETRY_MS = 2_000;

/** Channels of one request that are authorized at the same time. */
const AUTHORIZED_AT_ONCE = 10;

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
export function createRealtime<const TChannels extends Record<string, ChannelLike>>(
	options: RealtimeEndpointOptions<TChannels>
): Realtime {
	const settings = readOptions(options as unknown as RealtimeEndpointOptions<never>);
	const { inngest, reauthorizeOnEachMessage = false } = options;
	const registry = options.channels as unknown as Record<string, RealtimeChannelConfig>;
	const isShared = (options.scope ?? (isWorkerd ? 'request' : 'process')) === 'process';
	// Where a socket may not outlive its request each connection has a hub of its own.
	const shared = isShared ? Hub.of(inngest, settings) : undefined;
	const report = createReport(options.onFailure);
	const admission = new Admission(settings.limits);
	const connections = new Map<Connection, Hub>();
	const iterators = new Set<FeedIterator>();
	let deliveries = 0;
	let slowReaders = 0;
	let state: 'open' | 'stopping' | 'closed' = 'open';

	const connectionSettings = (hub: Hub): ConnectionSettings => ({
		wheel: hub.wheel,
		intervalMs: settings.intervalMs,
		maxBufferedBytes: settings.limits.maxBufferedBytes,
		maxLifetimeMs: settings.limits.maxLifetimeMs ?? false,
		recheckMs: settings.recheckMs,
		retryMs: RETRY_MS,
		started(connection) {
			connections.set(connection, hub);
			admission.enter(connection.request.key);
		},
		ended(connection) {
			connections.delete(connection);
			admission.leave(connection.request.key);
			if (!shared) hub.close();
		},
		delivered() {
			deliveries++;
		},
		slow() {
			slowReaders++;
		}
	});
	const sharedSettings = shared && connectionSettings(shared);

	/** Resolves and authorizes one channel. */
	async function prepare(
		event: RequestEvent,
		subscription: SubscriptionRequest
	): Promise<SubscriptionSpec> {
		const match = await resolveSubscription(registry, event, subscription);
		const { config, channel } = match;
		const authorization = new Authorization(match, event, subscription.params ?? {});
		const topics = await authorization.authorize();
		const isChecked = config.reauthorizeOnEachMessage ?? reauthorizeOnEachMessage;
		const isRechecked = settings.recheckMs !== false;
		// Callbacks run as their own request's, whoever's message or timer it is that leads to them.
		const run = isChecked || isRechecked ? captureContext() : undefined;
		return {
			source: feedSource(config, channel, [...topics]),
			topics,
			check: isChecked
				? ({ envelope }) => run!(() => authorization.checkMessage(envelope))
				: undefined,
			recheck: isRechecked ? () => run!(() => authorization.recheck()) : undefined,
			report: run && ((failure) => run(() => report({ ...failure, event })))
		};
	}

	function subscribe(
		connection: Connection,
		spec: SubscriptionSpec,
		lastEventId: string | undefined
	): void {
		const hub = connections.get(connection)!;
		const subscription = new Subscription(connection, hub, spec, report);
		connection.add(subscription);
		subscription.start(lastEventId);
	}

	/** @throws {Failure} `stream` 503 once no stream may begin any more. */
	function checkOpen(): void {
		if (state === 'open') return;
		const text = state === 'stopping' ? TEXT.stopping : TEXT.closed;
		throw new Failure('stream', 503, text, { headers: { 'retry-after': '1' } });
	}

	function refuse(
		connection: Connection,
		event: RequestEvent,
		subscription: SubscriptionRequest,
		error: unknown
	): void {
		const failure = asFailure(error);
		const detail = tell(event, failure, report, subscription);
		const { stage, status: code, isFatal: fatal } = failure;
		connection.refuse(degradedFrame(subscription.channel, { detail, stage, code, fatal }));
	}

	function respond(
		event: RequestEvent,
		{ subscriptions, isSingle }: ParsedRequest,
		key: string | undefined,
		begin: (connection: Connection) => void
	): Response {
		const headers = new Headers(HEADERS);
		closeAfter(event, headers);
		if (event.request.method === 'HEAD') return new Response(null, { headers });
		const socket = (event.platform as { req?: { socket?: { destroy?: () => void } } } | undefined)
			?.req?.socket;
		const settingsOfHub = sharedSettings ?? connectionSettings(new Hub(inngest, settings));
		const connection = new Connection(settingsOfHub, {
			isSingle,
			isPlain: event.request.method === 'GET',
			key,
			destroySocket: socket?.destroy && (() => socket.destroy?.()),
			open(connection) {
				connection.expect(subscriptions.length);
				try {
					// Others may have begun, or the endpoint ended, since the request was answered.
					checkOpen();
					admission.check(key, 1);
				} catch (error) {
					for (const subscription of subscriptions) {
						refuse(connection, event, subscription, error);
					}
					return;
				}
				begin(connection);
			}
		});
		return new Response(connection.body, { headers });
	}

	async function handle(event: RequestEvent, parsed: ParsedRequest): Promise<Response> {
		const { subscriptions, isSingle } = parsed;
		const key = admission.keyOf(event);
		admission.check(key);
		const [first] = subscriptions;
		if (isSingle) {
			const spec = await prepare(event, first!);
			checkOpen();
			admission.check(key);
			return respond(event, parsed, key, (connection) =>
				subscribe(connection, spec, first!.lastEventId)
			);
		}
		const run = captureContext();
		return respond(event, parsed, key, (connection) => {
			// A server sends its headers with the first bytes, which are not to wait for the app's answers.
			connection.keepAlive();
			void run(() =>
				eachLimited(subscriptions, AUTHORIZED_AT_ONCE, async (subscription) => {
					if (connection.ended) return;
					try {
						const spec = await prepare(event, subscription);
						if (!connection.ended) subscribe(connection, spec, subscription.lastEventId);
					} catch (error) {
						refuse(connection, event, subscription, error);
					}
				})
			);
		});
	}

	async function answer(
		event: RequestEvent,
		parse: (limits: typeof settings.limits) => ParsedRequest | Promise<ParsedRequest>
	): Promise<Response> {
		let parsed: ParsedRequest | undefined;
		try {
			checkOpen();
			replaceReloaded(event.route?.id ?? null, lifecycle);
			parsed = await parse(settings.limits);
			return await handle(event, parsed);
		} catch (error) {
			const failure = asFailure(error);
			const subscription = parsed?.isSingle ? parsed.subscriptions[0] : undefined;
			const message = tell(event, failure, report, subscription);
			const headers = new Headers({ 'content-type': 'application/json', ...failure.headers });
			if (state !== 'open') closeAfter(event, headers);
			const { status } = failure;
			return new Response(JSON.stringify({ error: message, ...failure.body }), { status, headers });
		}
	}

	function iterate(
		channel: ChannelLike,
		options: RealtimeSubscribeOptions<ChannelLike, string> = {}
	): FeedIterator {
		if (state !== 'open') {
			throw new RealtimeError('CLOSED', 'This realtime endpoint was closed; nothing can be read.');
		}
		const resolved = resolveChannel(channel, options.channelParams);
		const { name, topics: defined } = resolved;
		const topics = [...(options.topics ?? defined)];
		const unknown = topics.filter(
			(topic) => topic !== RUN_TOPIC && defined.length > 0 && !defined.includes(topic)
		);
		if (unknown.length > 0 || topics.length === 0) {
			throw new RealtimeError(
				'UNKNOWN_TOPIC',
				`Channel "${name}" has no such topics: ${unknown.join(', ') || 'none were named'}.`
			);
		}
		const hub = shared ?? new Hub(inngest, settings);
		const entry = Object.values(registry).find(
			(config) => config.channel.topics === resolved.definitions
		);
		const iterator = new FeedIterator(hub, feedSource(entry, resolved, topics), {
			topics: new Set(topics),
			report,
			lastEventId: options.lastEventId,
			signal: options.signal,
			onEnd: () => {
				iterators.delete(iterator);
				if (!shared) hub.close();
			}
		});
		iterators.add(iterator);
		return iterator;
	}

	const endStreams = (): void => {
		for (const connection of [...connections.keys()]) connection.end();
	};
	const realtime: Realtime = {
		GET: (event) => answer(event, (limits) => parseGet(event.request, event.url, limits)),
		POST: (event) => answer(event, (limits) => parsePost(event.request, limits)),
		subscribe: (channel, options) => iterate(channel, options) as never,
		publish: (topic, data) =>
			publish(
				inngest,
				Object.values(registry).map((config) => config.channel),
				topic,
				data
			),
		stats: () => ({
			streams: admission.streams,
			deliveries,
			slowReaders,
			...(shared ? shared.stats : sumStats([...connections.values()]))
		}),
		close() {
			if (state === 'closed') return;
			state = 'closed';
			stopListening();
			endStreams();
			for (const iterator of iterators) void iterator.return();
			shared?.release(inngest);
		}
	};
	const lifecycle = { load: currentLoad(), endStreams, close: realtime.close };
	const stopListening = onShutdown({
		...lifecycle,
		endStreams() {
			state = 'stopping';
			shared?.drain();
			endStreams();
		}
	});
	return realtime;
}

/** A server that stops would linger on sockets that are kept alive. */
function closeAfter(event: RequestEvent, headers: Headers): void {
	// Only HTTP/1 has this header.
	if (event.request.headers.has('connection')) headers.set('connection', 'close');
}

function asFailure(error: unknown): Failure {
	if (error instanceof Failure) return error;
	return new Failure('stream', 500, 'Internal error', { cause: error });
}

function tell(
	event: RequestEvent,
	failure: Failure,
	report: Report,
	subscription?: SubscriptionRequest
): string {
	const { stage, status, message, cause } = failure;
	return report({
		stage,
		status,
		message,
		event,
		...(subscription && { channelId: subscription.channel }),
		...(subscription?.topics && { topics: subscription.topics }),
		...(cause !== undefined && { error: cause })
	});
}
