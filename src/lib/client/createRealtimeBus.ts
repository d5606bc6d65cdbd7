import type { ChannelLike, ChannelParams } from '../protocol/channel.js';
import { RealtimeError } from '../protocol/errors.js';
import type { EventDefinition, EventInput } from '../protocol/event.js';
import type { ResyncPayload } from '../protocol/health.js';
import type { RealtimeRequestParams } from '../protocol/request.js';
import type {
	Positioned,
	RealtimeTopicEnvelope,
	RealtimeTopicMessage,
	TopicKey
} from '../protocol/types.js';
import { RealtimeBus } from './bus/bus.js';
import { getRealtimeBusSend, type RealtimeSent } from './events/send.js';
import { resolveSubscription } from './subscriptions.js';
import { HttpTransport } from './transport/http.js';
import { watchAnywhere } from './transport/noPage.js';
import type {
	CheckedSubscription,
	RealtimeClientFailureContext,
	RealtimeOutdated,
	RealtimeReconnectOptions,
	RealtimeSubscription
} from './types.js';

/** Headers, or a function that is called before each request and returns them. */
export type RealtimeBusHeaders = HeadersInit | (() => HeadersInit | PromiseLike<HeadersInit>);

/** Options of `createRealtimeBus`. */
export interface RealtimeBusOptions {
	/** URL of the endpoint; absolute if there is no page, as in Node. */
	endpoint: string;
	/** Replaces the global `fetch`. It then has to resolve a relative `endpoint`. */
	fetch?: typeof globalThis.fetch;
	/** Sent with each request: a token, for example. */
	headers?: RealtimeBusHeaders;
	/** Delays between attempts to reconnect, or `false` to wait for `reconnect()` after a stream is lost. */
	reconnect?: RealtimeReconnectOptions | false;
	/** Called for every failed attempt, ended channel, unreadable message and throwing handler. */
	onFailure?: (failure: RealtimeClientFailureContext) => void;
	/** Called when messages of a channel may be missing. */
	onResync?: (resync: ResyncPayload) => void;
	/** Called when the server no longer supports the version of an event. */
	onOutdated?: (outdated: RealtimeOutdated) => void;
	/**
	 * Minimum time, in milliseconds, between two updates of components that read with hooks.
	 * @default undefined (once per frame of the screen)
	 */
	bufferIntervalMs?: number;
	/** Most events that may wait for an answer; one more is refused. @default 100 */
	maxPending?: number;
	/** How long, in milliseconds, an event may wait for its answer. @default 300_000 */
	maxAgeMs?: number;
}

/** The argument of a handler of `subscribe`. */
type Heard<TChannel extends ChannelLike, TTopic extends string> =
	| Positioned<RealtimeTopicMessage<TChannel, TTopic & TopicKey<TChannel>>>
	| ('$run' extends TTopic ? Positioned<RealtimeTopicEnvelope<'$run'>> : never);

/** Which messages of a channel a handler gets. */
export type RealtimeListenOptions<TChannel extends ChannelLike, TTopic extends string> = {
	/**
	 * Topics to receive, `$run` included. `typeOnlyChannel` lists none and needs them here.
	 * @default all topics of the channel
	 */
	topics?: readonly TTopic[];
	/** A builder's only argument, or a list of its arguments. */
	channelParams?: ChannelParams<TChannel>;
	/** Sent along and read by the endpoint's `authorize`. */
	params?: RealtimeRequestParams;
} & (
	| {
			/** Starts after this cursor. Later messages are replayed. */
			since?: string | null;
			history?: undefined;
	  }
	| {
			/** Starts with this many recent messages; they carry `history: true`. */
			history?: number;
			since?: undefined;
	  }
);

/** A bus without a `<RealtimeManager>`: what `createRealtimeBus` returns. */
export class RealtimeStandaloneBus extends RealtimeBus {
	readonly #pending: Pick<RealtimeBusOptions, 'maxPending' | 'maxAgeMs'>;
	#isClosed = false;

	/** @internal */
	constructor(options: RealtimeBusOptions) {
		const { endpoint, reconnect, maxPending, maxAgeMs, headers, ...rest } = options;
		checkEndpoint(options);
		const fetch = headers ? withHeaders(options.fetch, headers) : options.fetch;
		const settings = { ...rest, endpoint, ...(fetch && { fetch }) };
		super({
			subscriptions: () => new Map(),
			connect: (owner) => new HttpTransport(owner, watchAnywhere),
			settings: () => settings
		});
		this.#pending = { ...(maxPending && { maxPending }), ...(maxAgeMs && { maxAgeMs }) };
		this.update({
			endpoint,
			subscriptions: new Map(),
			...(fetch && { fetch }),
			...(reconnect !== undefined && { reconnect })
		});
	}

	/**
	 * Adds a channel to the stream of this bus, for hooks that use the bus.
	 *
	 * @returns a function that ends it.
	 */
	override subscribe<const TSubscription extends RealtimeSubscription>(
		subscription: TSubscription & CheckedSubscription<TSubscription>
	): () => void;
	/**
	 * Calls `handler` with each message of a channel, in order. All channels of a bus share one stream.
	 * Failures and gaps go to `onFailure` and `onResync`.
	 *
	 * @returns a function that ends it.
	 * @throws {RealtimeError} `CLOSED` after `close()`, `DUPLICATE_CHANNEL` when the channel is subscribed
	 *   already with other topics or params, `INVALID_OPTION` when a topic or a parameter is missing.
	 * @example
	 * ```ts
	 * const bus = createRealtimeBus({ endpoint: 'https://example.com/api/events' });
	 * const stop = bus.subscribe(demoChannel, { topics: ['message'] }, ({ data, cursor }) => {
	 *   console.log(cursor, data.message);
	 * });
	 * ```
	 */
	override subscribe<
		TChannel extends ChannelLike,
		const TTopic extends TopicKey<TChannel> | '$run' = TopicKey<TChannel>
	>(
		channel: TChannel,
		options: RealtimeListenOptions<TChannel, TTopic>,
		handler: (message: Heard<TChannel, TTopic>) => void
	): () => void;
	override subscribe(
		first: unknown,
		options: object = {},
		handler?: (message: never) => void
	): () => void {
		this.#checkOpen();
		if (!handler) return super.subscribe(first as never);
		const subscription = { ...options, channel: first } as RealtimeSubscription;
		const end = super.subscribe(subscription as never);
		const { frames } = this.state(resolveSubscription(subscription).channelId);
		const stop = frames.listen((frame) => {
			if (frame.event === 'message') handler(frame.data as never);
		});
		return () => {
			stop();
			end();
		};
	}

	/**
	 * Sends an event. It is sent again with the same id after failures of the network or the server; see
	 * `getRealtimeBusSend`.
	 *
	 * @param options With your own `id`, the event runs once, even if it is sent several times.
	 * @throws {RealtimeEventError} as `getRealtimeBusSend` does, or a `RealtimeError` `CLOSED` after `close()`.
	 */
	async send<TEvent extends EventDefinition>(
		event: TEvent,
		data: EventInput<TEvent>,
		options?: { id?: string }
	): Promise<RealtimeSent<TEvent>> {
		this.#checkOpen();
		return getRealtimeBusSend(event, { bus: this, ...this.#pending })(data, options);
	}

	/** Ends the stream. Pending events are still sent. */
	override close(): void {
		this.#isClosed = true;
		super.close();
	}

	#checkOpen(): void {
		if (this.#isClosed) throw new RealtimeError('CLOSED', 'This realtime bus was closed.');
	}
}

/**
 * A bus outside of components: for a script, a worker, or another framework. It has the transport of
 * `<RealtimeManager>` and also runs in Node. Pass it to hooks as their option `bus`. In Node, import it from
 * `sveltekit-inngest/bus`, which has no components. It lives until `close()`.
 *
 * @throws {RealtimeError} `INVALID_OPTION` when `endpoint` is missing, or not absolute although there is no
 *   page whose address it could be relative to.
 * @example
 * ```ts
 * const bus = createRealtimeBus({
 *   endpoint: 'https://example.com/api/events',
 *   headers: () => ({ authorization: `Bearer ${token()}` })
 * });
 * await bus.send(createOrder, { item: 'tea', count: 1 });
 * bus.close();
 * ```
 */
export function createRealtimeBus(options: RealtimeBusOptions): RealtimeStandaloneBus {
	return new RealtimeStandaloneBus(options);
}

function checkEndpoint({ endpoint, fetch }: RealtimeBusOptions): void {
	if (typeof endpoint !== 'string' || endpoint === '') {
		throw new RealtimeError('INVALID_OPTION', 'createRealtimeBus() needs an `endpoint`: its URL.');
	}
	if (fetch || globalThis.location || URL.canParse(endpoint)) return;
	throw new RealtimeError(
		'INVALID_OPTION',
		`createRealtimeBus() needs an absolute \`endpoint\` outside of a page, such as "https://example.com/api/events", not "${endpoint}".`
	);
}

function withHeaders(
	fetch: typeof globalThis.fetch | undefined,
	headers: RealtimeBusHeaders
): typeof globalThis.fetch {
	return async (input, init) => {
		const own = new Headers(typeof headers === 'function' ? await headers() : headers);
		// The transport's own headers, which describe the body, win.
		new Headers(init?.headers).forEach((value, name) => own.set(name, value));
		return (fetch ?? globalThis.fetch)(input, { ...init, headers: own });
	};
}
