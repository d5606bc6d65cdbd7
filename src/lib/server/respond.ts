import type { RequestEvent } from '@sveltejs/kit';
import { RealtimeError } from '../protocol/errors.js';
import type { PresenceRequest } from '../protocol/presence.js';
import type { HistoryRequest, SubscriptionRequest } from '../protocol/request.js';
import { Admission } from './access/admission.js';
import { Authorization, type AuthorizedReader } from './access/authorization.js';
import { readIdentity, type RealtimeIdentify, type RealtimeIdentity } from './access/identity.js';
import type { Match, Registry } from './access/registry.js';
import type { RateLimiter } from './access/rate.js';
import type { Pressure } from './access/pressure.js';
import type { ParsedRequest } from './access/request.js';
import { leaveStarting } from './access/starting.js';
import { createCheck, createView, type View } from './access/view.js';
import { failureResponse } from './failure/answer.js';
import { Failure, TEXT } from './failure/failure.js';
import type { Report } from './failure/report.js';
import { rangeOf, readHistory } from './history.js';
import type { Hub } from './hub/hub.js';
import type { TailStart } from './hub/tail.js';
import type { Hubs } from './hubs.js';
import type { AuthorizationOutcome, EndpointMeters } from './metrics/endpointMeters.js';
import type { Settings } from './options.js';
import { DEFAULT_GRACE_MS } from './presence/options.js';
import type { Presence } from './presence/presence.js';
import { ownRequest } from './runtime/ownRequest.js';
import { isWorkerd, unref } from './runtime/runtime.js';
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

/** How long, in milliseconds, it may take to tell others that a member has left. */
const FAREWELL_MS = 1_000;

/** Milliseconds between two steps of draining. */
const DRAIN_STEP_MS = 50;

/** Starts the channels of a stream. */
type Begin = (connection: Connection, hub: Hub) => void;

/** Who sent a request. */
interface Reader extends AuthorizedReader {
	/** The key that its streams are counted by. */
	key: string | undefined;
	/** The key that its rates are counted by. */
	sender: string | undefined;
}

/** A channel that a request names. */
type ChannelRequest = Pick<SubscriptionRequest, 'channel' | 'topics' | 'params'>;

/** A channel that a request may read. */
interface Access {
	match: Match;
	authorization: Authorization;
	/** The topics that may be read. */
	topics: ReadonlySet<string>;
	/** The checks for each message. */
	check: View | undefined;
}

/** What a responder needs. */
export interface ResponderOptions {
	settings: Settings;
	registry: Registry;
	identify: RealtimeIdentify | undefined;
	rates: RateLimiter;
	presence: Presence;
	hubs: Hubs;
	meters: EndpointMeters;
	pressure: Pressure;
	report: Report;
	/** Called when a stream has started. */
	started(): void;
	/** Called when the channels of a stream have changed. */
	changed(stream: Connection): void;
	/** Called when a stream has ended. */
	ended(stream: Connection): void;
	/** @throws {Failure} once no new streams are accepted. */
	checkOpen(): void;
}

/** Answers requests with streams, and holds the streams that are open. Owned by its endpoint. */
export class Responder {
	readonly #options: ResponderOptions;
	readonly #admission: Admission;
	readonly #connections = new Set<Connection>();
	/**
	 * How long, in milliseconds, a request on Workers continues after its stream, for a member that may come
	 * back.
	 */
	readonly #lingerMs: number;
	/** Created once if all streams share a hub. */
	readonly #sharedSettings: ConnectionSettings | undefined;

	constructor(options: ResponderOptions) {
		this.#options = options;
		const { limits, callbackTimeoutMs } = options.settings;
		this.#admission = new Admission(limits, callbackTimeoutMs);
		const present = [...options.registry.entries.values()].flatMap(
			({ presence }) => presence ?? []
		);
		const graces = present.map(({ graceMs = DEFAULT_GRACE_MS }) => graceMs + FAREWELL_MS);
		this.#lingerMs = isWorkerd ? Math.max(0, ...graces) : 0;
		const { shared } = options.hubs;
		this.#sharedSettings = shared && this.#connectionSettings(shared);
	}

	/** How many streams are open. */
	get streams(): number {
		return this.#admission.streams;
	}

	/** Ends all streams; their clients come back by themselves. */
	endStreams(): void {
		for (const connection of [...this.#connections]) connection.run(() => connection.end());
	}

	/** Ends the open streams spread over `ms` milliseconds. Resolves when the last one has ended. */
	async drain(ms: number): Promise<void> {
		const startedMs = performance.now();
		const { size } = this.#connections;
		while (this.#connections.size > 0) {
			const part = ms > 0 ? Math.min(1, (performance.now() - startedMs) / ms) : 1;
			// Those that leave by themselves count, too: the others are not ended sooner for it.
			const left = Math.floor((1 - part) * size);
			for (const connection of this.#connections) {
				if (this.#connections.size <= left) break;
				connection.run(() => connection.end());
			}
			if (this.#connections.size === 0) return;
			await new Promise((resolve) => unref(setTimeout(resolve, DRAIN_STEP_MS)));
		}
	}

	/**
	 * Handles data that a page sends about its own member.
	 *
	 * @throws {Failure} when it is refused.
	 */
	async update(
		event: RequestEvent,
		request: PresenceRequest,
		take: (request: PresenceRequest, identityId: string | undefined) => Promise<void>
	): Promise<Response> {
		const { presence, rates } = this.#options;
		const { identity, sender } = await this.#read(event);
		await rates.check('presence', sender, presence.costOf(request));
		await take(request, identity?.id);
		return empty();
	}

	/**
	 * Handles a page's answer to a question of the server.
	 *
	 * @throws {Failure} when it is refused.
	 */
	async answer(
		event: RequestEvent,
		reply: (identityId: string | undefined) => Promise<void>
	): Promise<Response> {
		const { identity, sender } = await this.#read(event);
		await this.#options.rates.check('answer', sender);
		await reply(identity?.id);
		return empty();
	}

	/**
	 * Reads the messages in a channel's log that the reader may see.
	 *
	 * @throws {Failure} when it is refused.
	 */
	async history(event: RequestEvent, request: HistoryRequest): Promise<Response> {
		const { rates, registry, hubs, report } = this.#options;
		const reader = await this.#read(event);
		await rates.check('history', reader.sender);
		this.#admission.start(1);
		try {
			const { match, topics, check } = await this.#access(event, request, reader);
			const feed = registry.feedSpec(match, [...topics]);
			const history = await hubs.use((hub) =>
				readHistory(hub, feed, { ...rangeOf(request), topics, report, check })
			);
			return Response.json(history, { headers: { 'cache-control': 'no-store' } });
		} catch (error) {
			if (!(error instanceof RealtimeError) || error.code !== 'BACKEND') throw error;
			throw new Failure('backend', 503, TEXT.historyAway, { cause: error });
		} finally {
			leaveStarting();
		}
	}

	/** Open streams. */
	get open(): readonly Connection[] {
		return [...this.#connections];
	}

	/**
	 * Admits and authorizes a request. A request for one channel is authorized before it is answered; one
	 * for several is answered at once, and each channel starts when its own answer is there.
	 *
	 * @throws {Failure} when it is refused as a whole.
	 */
	async respond(event: RequestEvent, parsed: ParsedRequest): Promise<Response> {
		const { subscriptions, isSingle } = parsed;
		this.#options.checkOpen();
		this.#options.pressure.check('critical');
		const visit = this.#admission.admit();
		try {
			const reader = await this.#read(event);
			visit.countAs(reader.key);
			await this.#options.rates.check('stream', reader.sender);
			if (!isSingle) {
				return this.#stream(event, parsed, reader, this.#startMany(event, subscriptions, reader));
			}
			const [subscription] = subscriptions as [SubscriptionRequest];
			const spec = await this.#prepare(event, subscription, reader);
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
		const { identify, settings, rates } = this.#options;
		const ask = (): Promise<RealtimeIdentity | null> =>
			readIdentity(identify, event, settings.callbackTimeoutMs);
		const identity = await ask();
		let asked: Promise<RealtimeIdentity | null> | undefined;
		return {
			identity,
			// All channels of a stream are checked together, so `identify` is asked once.
			identify: () => (asked ??= ask().finally(() => (asked = undefined))),
			key: await this.#admission.keyOf(event, identity),
			sender: await rates.senderOf(event, identity)
		};
	}

	/** @returns a function that authorizes the channels of one stream, some at a time, and starts them. */
	#startMany(
		event: RequestEvent,
		subscriptions: readonly SubscriptionRequest[],
		reader: Reader
	): Begin {
		const run = captureContext();
		return (connection, hub) => {
			let places: number;
			try {
				places = this.#admission.start(Math.min(subscriptions.length, AUTHORIZED_AT_ONCE));
			} catch (error) {
				return this.#refuseAll(connection, event, subscriptions, error);
			}
			// A server sends its headers with the first bytes. These must not wait for the app's callbacks.
			connection.keepAlive();
			const rest = subscriptions.values();
			const work = async (): Promise<void> => {
				try {
					for (const subscription of rest) {
						if (connection.ended) break;
						await this.#startOne(connection, hub, event, subscription, reader);
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
		subscription: SubscriptionRequest,
		reader: Reader
	): Promise<void> {
		try {
			const spec = await this.#prepare(event, subscription, reader);
			if (!connection.ended) this.#subscribe(connection, hub, spec, subscription);
		} catch (error) {
			this.#refuse(connection, event, subscription, error);
		}
	}

	/** Resolves and authorizes one channel. */
	async #prepare(
		event: RequestEvent,
		subscription: SubscriptionRequest,
		reader: Reader
	): Promise<SubscriptionSpec> {
		const { identity } = reader;
		const { settings, registry, report } = this.#options;
		const { match, authorization, topics, check } = await this.#access(event, subscription, reader);
		// A named reader can be checked again at any time. Streams of anonymous readers need not hold their request
		// for that.
		const isRechecked =
			settings.recheckMs !== false || Boolean(identity) || Boolean(match.config.presence);
		// Callbacks run in the context of their own request, even if the message or timer of another one triggers
		// them.
		const run = check || isRechecked ? captureContext() : undefined;
		const present = await this.#presentOf(event, subscription, match, identity);
		return {
			feed: registry.feedSpec(match, [...topics]),
			topics,
			check: check && ((entry) => run!(() => check(entry))),
			recheck: isRechecked
				? () => run!(() => this.#measured(match.entry, () => authorization.recheck()))
				: undefined,
			report: run && ((failure, place) => run(() => report(failure, { ...place, event }))),
			...present
		};
	}

	/** Counts a call of `authorize`, and how long it took. */
	async #measured<T>(entry: string, ask: () => Promise<T>): Promise<T> {
		const { authorizations, authorizing } = this.#options.meters;
		const startedMs = performance.now();
		let outcome: AuthorizationOutcome = 'allowed';
		try {
			return await ask();
		} catch (error) {
			outcome = error instanceof Failure && error.status < 500 ? 'denied' : 'failed';
			throw error;
		} finally {
			authorizations.of(entry, outcome).value++;
			authorizing.of(entry).observe((performance.now() - startedMs) / 1_000);
		}
	}

	/** What a request may read of one channel. */
	async #access(
		event: RequestEvent,
		subscription: ChannelRequest,
		reader: Reader
	): Promise<Access> {
		const { settings, registry, pressure } = this.#options;
		const { callbackTimeoutMs } = settings;
		const match = await registry.resolve(event, subscription);
		pressure.check(match.config.priority);
		const { params = {} } = subscription;
		const authorization = new Authorization(match, event, params, reader, callbackTimeoutMs);
		const topics = await this.#measured(match.entry, () => authorization.authorize());
		const isChecked = match.config.reauthorizeOnEachMessage ?? settings.reauthorizeOnEachMessage;
		const view = createView(match.config, { event, params }, callbackTimeoutMs);
		const check = createCheck(isChecked ? authorization : undefined, view);
		return { match, authorization, topics, check };
	}

	/** @returns how the reader takes part in presence, if the channel has it. */
	async #presentOf(
		event: RequestEvent,
		{ params = {} }: SubscriptionRequest,
		{ entry, config, channel: { name: channel } }: Match,
		identity: RealtimeIdentity | null
	): Promise<Pick<SubscriptionSpec, 'memberId' | 'attend'>> {
		const { presence } = this.#options;
		const { presence: options, channel: definition } = config;
		const identityId = identity?.id;
		if (!options) return { memberId: identityId };
		const place = { entry, channel, definition, options };
		const self = await presence.selfOf(place, { event, params, identity });
		return {
			memberId: self?.id ?? identityId,
			attend: (reader) => presence.attend(place, self, identityId, reader)
		};
	}

	#subscribe(
		connection: Connection,
		hub: Hub,
		spec: SubscriptionSpec,
		request: SubscriptionRequest
	): void {
		const subscription = new Subscription(connection, hub, spec, this.#options.report);
		if (request.lastEventId !== undefined) {
			this.#options.meters.replays.of(spec.feed.entry).value++;
		}
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
		{ identity, key, sender }: Reader,
		begin: Begin
	): Response {
		const { hubs, checkOpen } = this.#options;
		const headers = new Headers(HEADERS);
		closeAfter(event, headers);
		if (event.request.method === 'HEAD') return new Response(null, { headers });
		const hub = hubs.acquire(event.platform);
		let ended!: () => void;
		outlive(event, new Promise<void>((resolve) => (ended = resolve)));
		const settings = this.#sharedSettings ?? this.#connectionSettings(hub);
		const connection = new Connection(settings, {
			ended: this.#lingerMs === 0 ? ended : () => void setTimeout(ended, this.#lingerMs),
			run: ownRequest(),
			name: crypto.randomUUID(),
			isSingle,
			isPlain: event.request.method === 'GET',
			identity,
			key,
			sender,
			destroySocket: socketDestroyer(event),
			open: (connection) => {
				connection.expect(subscriptions.length);
				try {
					// Since the request was answered, other streams may have started, or the endpoint may have closed.
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
		const { settings, hubs, meters, pressure } = this.#options;
		const lifetimes = meters.lifetime.of();
		return {
			wheel: hub.wheel,
			intervalMs: settings.intervalMs,
			maxBufferedBytes: settings.limits.maxBufferedBytes,
			maxLifetimeMs: settings.limits.maxLifetimeMs ?? false,
			recheckMs: settings.recheckMs,
			retryMs: RETRY_MS,
			started: (connection) => {
				meters.opened++;
				this.#connections.add(connection);
				this.#options.started();
				hubs.hold(hub);
				this.#admission.enter(connection.request.key);
			},
			changed: (connection) => this.#options.changed(connection),
			ended: (connection, reason, lifetimeMs) => {
				meters.closed.of(reason).value++;
				lifetimes.observe(lifetimeMs / 1_000);
				this.#connections.delete(connection);
				this.#options.ended(connection);
				this.#admission.leave(connection.request.key);
				hubs.release(hub);
				connection.request.ended?.();
			},
			delivered: () => {
				meters.deliveries++;
			},
			written: (bytes) => {
				meters.chunks++;
				meters.bytes += bytes;
			},
			slow: () => {
				meters.slowReaders++;
			},
			limitation: () => pressure.text
		};
	}
}

function empty(): Response {
	return new Response(null, { status: 204, headers: { 'cache-control': 'no-store' } });
}

/** The response to a request that is refused as a whole. */
export function refusal(
	event: RequestEvent,
	error: unknown,
	report: Report,
	subscription: SubscriptionRequest | undefined
): Response {
	const failure = asFailure(error);
	return failureResponse(failure, report(failure, placeOf(event, subscription)));
}

/** Otherwise a server that stops would wait for sockets that are kept alive. */
export function closeAfter(event: RequestEvent, headers: Headers): void {
	// Only HTTP/1 has this header.
	if (event.request.headers.has('connection')) headers.set('connection', 'close');
}

/** The part of Cloudflare's request that an event has. */
interface WorkersPlatform {
	ctx?: { waitUntil?(promise: Promise<unknown>): void };
}

/** Workers stop a request at once when its client leaves, unless something is awaited. */
export function outlive({ platform }: RequestEvent, ended: Promise<unknown>): void {
	(platform as WorkersPlatform | undefined)?.ctx?.waitUntil?.(ended);
}

/** The part of Node's request that an event has. */
interface NodeRequest {
	socket?: {
		destroy?(): void;
		/** The current response of an HTTP/1 socket. Node has no public name for it. */
		_httpMessage?: { req?: unknown } | null;
	};
}

/**
 * A separate function, because its result lives as long as the stream and must not keep the request alive.
 *
 * @returns a function that destroys the socket of the response to `event`, if the platform gives access to
 *   it.
 */
function socketDestroyer({ platform, isSubRequest }: RequestEvent): (() => void) | undefined {
	const { req } = (platform ?? {}) as { req?: NodeRequest };
	// A request that the app makes of itself is given the `platform` of the page's request.
	if (isSubRequest || !req) return undefined;
	return () => {
		const { socket } = req;
		// A hook may have answered with something else, and the socket may serve another request by now.
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
