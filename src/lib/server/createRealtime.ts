import type { RequestEvent, RequestHandler } from '@sveltejs/kit';
import type { ChannelLike } from '../protocol/channel.js';
import { RealtimeError } from '../protocol/errors.js';
import type { SubscriptionRequest } from '../protocol/request.js';
import { Admission } from './admission.js';
import { Authorization } from './authorization.js';
import { eachLimited } from './concurrency.js';
import { Connection, type ConnectionSettings } from './connection.js';
import { createReport, Failure, type Report } from './failure.js';
import { Hub, type HubStats } from './hub.js';
import { captureContext, isWorkerd, onShutdown } from './node.js';
import {
	readOptions,
	type RealtimeChannelConfig,
	type RealtimeEndpointOptions
} from './options.js';
import { feedTopics, resolveSubscription } from './registry.js';
import { replaceReloaded } from './reload.js';
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
	stats(): RealtimeStats;
	/** Ends all streams and lets go of the connection to Inngest; requests are answered with 503 from then on. */
	close(): void;
}

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
	const hub = Hub.of(inngest, settings);
	const report = createReport(options.onFailure);
	const admission = new Admission(settings.limits);
	const connections = new Set<Connection>();
	let deliveries = 0;
	let slowReaders = 0;
	let closed = false;

	const connectionSettings: ConnectionSettings = {
		wheel: hub.wheel,
		intervalMs: settings.intervalMs,
		maxBufferedBytes: settings.limits.maxBufferedBytes,
		maxLifetimeMs: settings.limits.maxLifetimeMs ?? false,
		recheckMs: settings.recheckMs,
		retryMs: RETRY_MS,
		started(connection) {
			connections.add(connection);
			admission.enter(connection.request.key);
		},
		ended(connection) {
			connections.delete(connection);
			admission.leave(connection.request.key);
		},
		delivered() {
			deliveries++;
		},
		slow() {
			slowReaders++;
		}
	};

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
			source: {
				channel: channel.name,
				topics: feedTopics(match),
				definitions: channel.definitions,
				replay: config.replay
			},
			topics,
			check: isChecked
				? ({ envelope }) => run!(() => authorization.checkMessage(envelope))
				: undefined,
			recheck: isRechecked ? () => run!(() => authorization.recheck()) : undefined
		};
	}

	function subscribe(
		connection: Connection,
		spec: SubscriptionSpec,
		lastEventId: string | undefined
	): void {
		const subscription = new Subscription(connection, hub, spec, report);
		connection.add(subscription);
		void subscription.start(lastEventId);
	}

	function respond(
		event: RequestEvent,
		isSingle: boolean,
		key: string | undefined,
		open: (connection: Connection) => void
	): Response {
		const headers = new Headers(HEADERS);
		// Only HTTP/1 has this header; without it a server lingers on kept-alive sockets as it stops.
		if (event.request.headers.has('connection')) headers.set('connection', 'close');
		if (event.request.method === 'HEAD') return new Response(null, { headers });
		const socket = (event.platform as { req?: { socket?: { destroy?: () => void } } } | undefined)
			?.req?.socket;
		const connection = new Connection(connectionSettings, {
			isSingle,
			isPlain: event.request.method === 'GET',
			key,
			destroySocket: socket?.destroy && (() => socket.destroy?.()),
			open
		});
		return new Response(connection.body(), { headers });
	}

	async function handle(event: RequestEvent, parsed: ParsedRequest): Promise<Response> {
		const { subscriptions, isSingle } = parsed;
		const key = admission.keyOf(event);
		admission.check(key);
		const [first] = subscriptions;
		if (isSingle) {
			const spec = await prepare(event, first!);
			return respond(event, isSingle, key, (connection) => {
				connection.expect(1);
				subscribe(connection, spec, first!.lastEventId);
			});
		}
		const run = captureContext();
		return respond(event, isSingle, key, (connection) => {
			connection.expect(subscriptions.length);
			void run(() =>
				eachLimited(subscriptions, AUTHORIZED_AT_ONCE, async (subscription) => {
					if (connection.ended) return;
					try {
						const spec = await prepare(event, subscription);
						if (!connection.ended) subscribe(connection, spec, subscription.lastEventId);
					} catch (error) {
						const failure = asFailure(error);
						const detail = tell(event, failure, report, subscription);
						const { stage, status: code } = failure;
						connection.refuse(
							degradedFrame(subscription.channel, { detail, stage, code, fatal: true })
						);
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
			if (closed) throw new Failure('stream', 503, 'This realtime endpoint was closed.');
			replaceReloaded(event.route?.id ?? null, lifecycle);
			parsed = await parse(settings.limits);
			return await handle(event, parsed);
		} catch (error) {
			const failure = asFailure(error);
			const subscription = parsed?.isSingle ? parsed.subscriptions[0] : undefined;
			const message = tell(event, failure, report, subscription);
			return new Response(JSON.stringify({ error: message, ...failure.body }), {
				status: failure.status,
				headers: { 'content-type': 'application/json', ...failure.headers }
			});
		}
	}

	const endStreams = (): void => {
		for (const connection of [...connections]) connection.end();
	};
	const realtime: Realtime = {
		GET: (event) => answer(event, (limits) => parseGet(event.request, event.url, limits)),
		POST: (event) => answer(event, (limits) => parsePost(event.request, limits)),
		stats: () => ({ streams: admission.streams, deliveries, slowReaders, ...hub.stats }),
		close() {
			if (closed) return;
			closed = true;
			stopListening();
			endStreams();
			hub.release(inngest);
		}
	};
	const lifecycle = { endStreams, close: realtime.close };
	const stopListening = onShutdown(lifecycle);
	return realtime;
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
