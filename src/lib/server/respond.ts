import type { RequestEvent } from '@sveltejs/kit';
import type { SubscriptionRequest } from '../protocol/request.js';
import { Admission } from './access/admission.js';
import { Authorization } from './access/authorization.js';
import { readIdentity, type RealtimeIdentify, type RealtimeIdentity } from './access/identity.js';
import type { Registry } from './access/registry.js';
import type { ParsedRequest } from './access/request.js';
import { leaveStarting } from './access/starting.js';
import { Failure } from './failure/failure.js';
import type { Report } from './failure/report.js';
import type { Hub } from './hub/hub.js';
import type { TailStart } from './hub/tail.js';
import type { Hubs } from './hubs.js';
import type { Settings } from './options.js';
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

/** Starts the channels of a stream. */
type Begin = (connection: Connection, hub: Hub) => void;

/** Who sent a request. */
interface Reader {
	identity: RealtimeIdentity | null;
	/** Counts against the streams of this key. */
	key: string | undefined;
}

/** What a responder works with. */
export interface ResponderOptions {
	settings: Settings;
	registry: Registry;
	identify: RealtimeIdentify | undefined;
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
		const { limits, callbackTimeoutMs } = options.settings;
		this.#admission = new Admission(limits, callbackTimeoutMs);
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
		const visit = this.#admission.admit();
		try {
			const reader = await this.#read(event);
			visit.countAs(reader.key);
			if (!isSingle) {
				return this.#stream(event, parsed, reader, this.#startMany(event, subscriptions));
			}
			const [subscription] = subscriptions as [SubscriptionRequest];
			const spec = await this.#prepare(event, subscription);
			this.#options.checkOpen();
			return this.#stream(event, parsed, reader, (connection, hub) =>
				this.#subscribe(connection, hub, spec, subscription)
			);
		} finally {
			visit.end();
		}
	}

	/** Asks the app who sent a request. */
	async #read(event: RequestEvent): Promise<Reader> {
		const { identify, settings } = this.#options;
		const identity = await readIdentity(identify, event, settings.callbackTimeoutMs);
		return { identity, key: await this.#admission.keyOf(event, identity) };
	}

	/** @returns a function that authorizes the channels of one stream, some at a time, and starts them. */
	#startMany(event: RequestEvent, subscriptions: readonly SubscriptionRequest[]): Begin {
		const run = captureContext();
		return (connection, hub) => {
			let places: number;
			try {
				places = this.#admission.start(Math.min(subscriptions.length, AUTHORIZED_AT_ONCE));
			} catch (error) {
				return this.#refuseAll(connection, event, subscriptions, error);
			}
			// A server sends its headers with the first bytes, which must not wait for the app's answers.
			connection.keepAlive();
			const rest = subscriptions.values();
			const work = async (): Promise<void> => {
				try {
					for (const subscription of rest) {
						if (connection.ended) break;
						await this.#startOne(connection, hub, event, subscription);
					}
				} finally {
					leaveStarting();
				}
			};
			run(() => {
				for (let n = 0; n < places; n++) void work();
			});
		};
	}

	async #startOne(
		connection: Connection,
		hub: Hub,
		event: RequestEvent,
		subscription: SubscriptionRequest
	): Promise<void> {
		try {
			const spec = await this.#prepare(event, subscription);
			if (!connection.ended) this.#subscribe(connection, hub, spec, subscription);
		} catch (error) {
			this.#refuse(connection, event, subscription, error);
		}
	}

	/** Resolves and authorizes one channel. */
	async #prepare(
		event: RequestEvent,
		subscription: SubscriptionRequest
	): Promise<SubscriptionSpec> {
		const { settings, registry, report } = this.#options;
		const match = await registry.resolve(event, subscription);
		const authorization = new Authorization(
			match,
			event,
			subscription.params ?? {},
			settings.callbackTimeoutMs
		);
		const topics = await authorization.authorize();
		const isChecked = match.config.reauthorizeOnEachMessage ?? settings.reauthorizeOnEachMessage;
		const isRechecked = settings.recheckMs !== false;
		// Callbacks run in their own request's context, whoever's message or timer leads to them.
		const run = isChecked || isRechecked ? captureContext() : undefined;
		return {
			feed: registry.feedSpec(match, [...topics]),
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

	#refuseAll(
		connection: Connection,
		event: RequestEvent,
		subscriptions: readonly SubscriptionRequest[],
		error: unknown
	): void {
		for (const subscription of subscriptions) {
			this.#refuse(connection, event, subscription, error);
		}
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
		{ identity, key }: Reader,
		begin: Begin
	): Response {
		const { hubs, checkOpen } = this.#options;
		const headers = new Headers(HEADERS);
		closeAfter(event, headers);
		if (event.request.method === 'HEAD') return new Response(null, { headers });
		const hub = hubs.acquire();
		const connection = new Connection(this.#sharedSettings ?? this.#connectionSettings(hub), {
			isSingle,
			isPlain: event.request.method === 'GET',
			identity,
			key,
			destroySocket: socketDestroyer(event),
			open: (connection) => {
				connection.expect(subscriptions.length);
				try {
					// Others may have begun, or the endpoint ended, since the request was answered.
					checkOpen();
					this.#admission.check(key);
				} catch (error) {
					return this.#refuseAll(connection, event, subscriptions, error);
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

/** A function of its own, for it lives as long as the stream and must not hold on to the request. */
function socketDestroyer({ platform }: RequestEvent): (() => void) | undefined {
	const socket = (platform as { req?: { socket?: { destroy?: () => void } } } | undefined)?.req
		?.socket;
	return socket?.destroy && (() => socket.destroy?.());
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
	const headers = new Headers({
		'content-type': 'application/json',
		'cache-control': 'no-store',
		...failure.headers
	});
	const { status, body } = failure;
	return new Response(JSON.stringify({ error: message, ...body }), { status, headers });
}

/** A server that stops would linger on sockets that are kept alive. */
export function closeAfter(event: RequestEvent, headers: Headers): void {
	// Only HTTP/1 has this header.
	if (event.request.headers.has('connection')) headers.set('connection', 'close');
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
