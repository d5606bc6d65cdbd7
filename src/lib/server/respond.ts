import type { RequestEvent } from '@sveltejs/kit';
import type { SubscriptionRequest } from '../protocol/request.js';
import { Admission } from './access/admission.js';
import { Authorization } from './access/authorization.js';
import type { RealtimeChannelConfig } from './access/options.js';
import { feedSpec, resolveSubscription } from './access/registry.js';
import type { ParsedRequest } from './access/request.js';
import { Failure } from './failure/failure.js';
import type { Report } from './failure/report.js';
import type { Hub } from './hub/hub.js';
import type { TailStart } from './hub/tail.js';
import type { Hubs } from './hubs.js';
import type { Settings } from './options.js';
import { eachLimited } from './runtime/concurrency.js';
import { captureContext } from './runtime/context.js';
import { Connection, type ConnectionSettings } from './stream/connection.js';
import { degradedFrame, Subscription, type SubscriptionSpec } from './stream/subscription.js';

const HEADERS = {
	'content-type': 'text/event-stream',
	'cache-control': 'no-store, no-transform',
	'x-accel-buffering': 'no'
} as const;

/** Delay, in milliseconds, after which a plain `EventSource` reconnects. */
const RETRY_MS = 2_000;

/** Channels of one request that are authorized at the same time. */
const AUTHORIZED_AT_ONCE = 10;

/** What a responder works with. */
export interface ResponderOptions {
	settings: Settings;
	registry: Readonly<Record<string, RealtimeChannelConfig>>;
	hubs: Hubs;
	report: Report;
	/** @throws {Failure} once no stream may begin any more. */
	checkOpen(): void;
}

/** Answers requests with streams, and holds the streams that are open. Owned by its endpoint. */
export class Responder {
	readonly #options: ResponderOptions;
	readonly #admission: Admission;
	readonly #connections = new Set<Connection>();
	/** Made once where all streams share a hub. */
	readonly #sharedSettings: ConnectionSettings | undefined;
	/** Batches of messages given to readers. */
	deliveries = 0;
	/** Chunks written to readers: messages, health and comments. */
	chunks = 0;
	/** Readers closed because they did not keep up. */
	slowReaders = 0;

	constructor(options: ResponderOptions) {
		this.#options = options;
		this.#admission = new Admission(options.settings.limits);
		const { shared } = options.hubs;
		this.#sharedSettings = shared && this.#connectionSettings(shared);
	}

	/** Open streams. */
	get streams(): number {
		return this.#admission.streams;
	}

	/** Ends all streams; their clients come back by themselves. */
	endStreams(): void {
		for (const connection of [...this.#connections]) connection.end();
	}

	/**
	 * Admits and authorizes a request. A request for one channel is authorized before it is answered; one
	 * for several is answered at once, and each channel starts when its own answer is there.
	 *
	 * @throws {Failure} when it is refused as a whole.
	 */
	async respond(event: RequestEvent, parsed: ParsedRequest): Promise<Response> {
		const { subscriptions, isSingle } = parsed;
		const key = this.#admission.keyOf(event);
		this.#admission.check(key);
		if (isSingle) {
			const [subscription] = subscriptions as [SubscriptionRequest];
			const spec = await this.#prepare(event, subscription);
			this.#options.checkOpen();
			this.#admission.check(key);
			return this.#stream(event, parsed, key, (connection, hub) =>
				this.#subscribe(connection, hub, spec, subscription)
			);
		}
		const run = captureContext();
		return this.#stream(event, parsed, key, (connection, hub) => {
			// A server sends its headers with the first bytes, which must not wait for the app's answers.
			connection.keepAlive();
			void run(() =>
				eachLimited(subscriptions, AUTHORIZED_AT_ONCE, async (subscription) => {
					if (connection.ended) return;
					try {
						const spec = await this.#prepare(event, subscription);
						if (!connection.ended) this.#subscribe(connection, hub, spec, subscription);
					} catch (error) {
						this.#refuse(connection, event, subscription, error);
					}
				})
			);
		});
	}

	/** Resolves and authorizes one channel. */
	async #prepare(
		event: RequestEvent,
		subscription: SubscriptionRequest
	): Promise<SubscriptionSpec> {
		const { settings, registry, report } = this.#options;
		const match = await resolveSubscription(registry, event, subscription);
		const authorization = new Authorization(match, event, subscription.params ?? {});
		const topics = await authorization.authorize();
		const isChecked = match.config.reauthorizeOnEachMessage ?? settings.reauthorizeOnEachMessage;
		const isRechecked = settings.recheckMs !== false;
		// Callbacks run in their own request's context, whoever's message or timer leads to them.
		const run = isChecked || isRechecked ? captureContext() : undefined;
		return {
			feed: feedSpec(match, [...topics]),
			topics,
			check: isChecked
				? ({ envelope }) => run!(() => authorization.checkMessage(envelope))
				: undefined,
			recheck: isRechecked ? () => run!(() => authorization.recheck()) : undefined,
			report: run && ((failure, place) => run(() => report(failure, { ...place, event })))
		};
	}

	#subscribe(
		connection: Connection,
		hub: Hub,
		spec: SubscriptionSpec,
		request: SubscriptionRequest
	): void {
		const subscription = new Subscription(connection, hub, spec, this.#options.report);
		connection.add(subscription);
		subscription.start(startOf(request));
	}

	#refuse(
		connection: Connection,
		event: RequestEvent,
		subscription: SubscriptionRequest,
		error: unknown
	): void {
		const failure = asFailure(error);
		const detail = this.#options.report(failure, placeOf(event, subscription));
		const { stage, status: code, isFatal: fatal } = failure;
		connection.refuse(degradedFrame(subscription.channel, { detail, stage, code, fatal }));
	}

	#stream(
		event: RequestEvent,
		{ subscriptions, isSingle }: ParsedRequest,
		key: string | undefined,
		begin: (connection: Connection, hub: Hub) => void
	): Response {
		const { hubs, checkOpen } = this.#options;
		const headers = new Headers(HEADERS);
		closeAfter(event, headers);
		if (event.request.method === 'HEAD') return new Response(null, { headers });
		const hub = hubs.acquire();
		const connection = new Connection(this.#sharedSettings ?? this.#connectionSettings(hub), {
			isSingle,
			isPlain: event.request.method === 'GET',
			key,
			destroySocket: socketDestroyer(event),
			open: (connection) => {
				connection.expect(subscriptions.length);
				try {
					// Others may have begun, or the endpoint ended, since the request was answered.
					checkOpen();
					this.#admission.check(key, 1);
				} catch (error) {
					for (const subscription of subscriptions) {
						this.#refuse(connection, event, subscription, error);
					}
					return;
				}
				begin(connection, hub);
			}
		});
		return new Response(connection.body, { headers });
	}

	#connectionSettings(hub: Hub): ConnectionSettings {
		const { settings, hubs } = this.#options;
		return {
			wheel: hub.wheel,
			intervalMs: settings.intervalMs,
			maxBufferedBytes: settings.limits.maxBufferedBytes,
			maxLifetimeMs: settings.limits.maxLifetimeMs ?? false,
			recheckMs: settings.recheckMs,
			retryMs: RETRY_MS,
			started: (connection) => {
				this.#connections.add(connection);
				hubs.hold(hub);
				this.#admission.enter(connection.request.key);
			},
			ended: (connection) => {
				this.#connections.delete(connection);
				this.#admission.leave(connection.request.key);
				hubs.release(hub);
			},
			delivered: () => {
				this.deliveries++;
			},
			written: () => {
				this.chunks++;
			},
			slow: () => {
				this.slowReaders++;
			}
		};
	}
}

/** The answer to a request that is refused as a whole. */
export function refusal(
	event: RequestEvent,
	error: unknown,
	report: Report,
	subscription: SubscriptionRequest | undefined
): Response {
	const failure = asFailure(error);
	const message = report(failure, placeOf(event, subscription));
	const headers = new Headers({ 'content-type': 'application/json', ...failure.headers });
	const { status, body } = failure;
	return new Response(JSON.stringify({ error: message, ...body }), { status, headers });
}

/** A server that stops would linger on sockets that are kept alive. */
export function closeAfter(event: RequestEvent, headers: Headers): void {
	// Only HTTP/1 has this header.
	if (event.request.headers.has('connection')) headers.set('connection', 'close');
}

/** What Node shows of the request under an event. */
interface NodeRequest {
	socket?: {
		destroy?(): void;
		/** The response that an HTTP/1 socket carries now. Node has no public name for it. */
		_httpMessage?: { req?: unknown } | null;
	};
}

/** @returns what destroys the socket under the response to `event`, where the platform shows it. */
function socketDestroyer({ platform, isSubRequest }: RequestEvent): (() => void) | undefined {
	const { req } = (platform ?? {}) as { req?: NodeRequest };
	// A request that the app makes of itself is given the `platform` of the page's request.
	if (isSubRequest || !req) return undefined;
	return () => {
		const { socket } = req;
		// A hook may have answered with something else, so that the socket serves another request by now.
		const isOurs = socket?._httpMessage === undefined || socket._httpMessage?.req === req;
		if (isOurs) socket?.destroy?.();
	};
}

function startOf({ lastEventId, since, history }: SubscriptionRequest): TailStart {
	return { after: lastEventId ?? since, history };
}

function placeOf(
	event: RequestEvent,
	subscription: SubscriptionRequest | undefined
): Parameters<Report>[1] {
	return {
		event,
		...(subscription && { channelId: subscription.channel }),
		...(subscription?.topics && { topics: subscription.topics })
	};
}

function asFailure(error: unknown): Failure {
	if (error instanceof Failure) return error;
	return new Failure('stream', 500, 'Internal error', { cause: error });
}
