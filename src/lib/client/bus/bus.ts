import { DEV } from 'esm-env';
import { untrack } from 'svelte';
import { SvelteMap } from 'svelte/reactivity';
import type { ResyncPayload } from '../../protocol/health.js';
import { ChannelState } from '../state/channel.js';
import { onEnd } from '../state/lifetime.svelte.js';
import { Signal } from '../state/signal.js';
import { duplicate, identify, resolveSubscription, type Subscriptions } from '../subscriptions.js';
import type { Transport, TransportOptions, TransportOwner } from '../transport/transport.js';
import type {
	CheckedSubscription,
	ReactiveCurrent,
	RealtimeBusStatus,
	RealtimeClientFailureContext,
	RealtimeOutdated,
	RealtimePauseReason,
	RealtimeResolvedSubscription,
	RealtimeSubscription
} from '../types.js';

/** The options of a bus; read whenever they are needed. */
export interface BusSettings {
	enabled?: boolean;
	bufferIntervalMs?: number;
	onFailure?: (failure: RealtimeClientFailureContext) => void;
	onResync?: (resync: ResyncPayload) => void;
	onOutdated?: (outdated: RealtimeOutdated) => void;
	/** URL of the endpoint. */
	endpoint?: string;
	fetch?: typeof globalThis.fetch;
}

/** The parts of a bus. */
export interface BusOptions {
	/** The subscriptions of the manager; reactive. */
	subscriptions: () => Subscriptions;
	/** Creates the transport when the bus is first updated. */
	connect: (owner: TransportOwner) => Transport;
	settings: () => BusSettings;
	/** The bus of the surrounding manager. */
	parent?: RealtimeBus;
}

/**
 * In development, the buses in use on the page and the subscriptions of each, for the inspector, wherever it
 * is on the page. It must not ask a bus, because the bus's manager may be about to end.
 */
export const openBuses = /* @__PURE__ */ new SvelteMap<RealtimeBus, Subscriptions>();

/** A channel that was subscribed by `subscribe`. */
interface Added {
	readonly subscription: RealtimeResolvedSubscription;
	/** How many have subscribed and not stopped. */
	users: number;
}

/**
 * What a `RealtimeManager` provides to the components inside: the state of its channels, and the one
 * transport that fills it. The manager creates it and ends it; afterwards, everything read from it keeps its
 * last value.
 *
 * @example
 * ```ts
 * const bus = getRealtimeBus();
 * const isLive = $derived(bus.status.current.status === 'connected');
 * const tryAgain = () => bus.reconnect();
 * ```
 */
export class RealtimeBus implements TransportOwner {
	/**
	 * The combined status of all channels of this manager: `degraded` when one has failed, `connecting` when one
	 * is connecting, `connected` when all are live, `paused` with a `reason` when there is no stream on purpose.
	 * On the server it is `connecting` or `paused`.
	 */
	readonly status: ReactiveCurrent<RealtimeBusStatus>;
	/** @internal The bus of the surrounding manager. */
	readonly parent: RealtimeBus | undefined;
	/** @internal */
	readonly settings: () => BusSettings;
	readonly #own: () => Subscriptions;
	readonly #connect: BusOptions['connect'];
	readonly #states = new Map<string, ChannelState>();
	readonly #added = new SvelteMap<string, Added>();
	/** Emits when the status may have changed. */
	readonly #changes = new Signal(console.error, () => this.bufferIntervalMs);
	#transport: Transport | undefined;
	#options: TransportOptions | undefined;
	#isHidden = false;

	/** @internal */
	constructor({ subscriptions, connect, settings, parent }: BusOptions) {
		this.#own = subscriptions;
		this.#connect = connect;
		this.settings = settings;
		this.parent = parent;
		const readStatus = (): RealtimeBusStatus => this.#readStatus();
		this.status = {
			get current() {
				return readStatus();
			}
		};
		// An invalid list throws now, not when something first reads it.
		subscriptions();
	}

	/** Subscriptions of this manager and those added to it, without those of surrounding managers. */
	get subscriptions(): readonly RealtimeResolvedSubscription[] {
		return [...this.#merge(this.#own()).values()];
	}

	/**
	 * Adds a channel to the stream of this manager, without another connection. Hooks that are called afterwards
	 * find it. It stays until the returned function is called or, if a component called this while it
	 * initialised, until that component ends. If it is subscribed several times, it stays until all have
	 * stopped.
	 *
	 * @throws {RealtimeError} `DUPLICATE_CHANNEL` when the channel is already subscribed with other topics or
	 *   params, `INVALID_OPTION` when the subscription is invalid.
	 * @example
	 * ```ts
	 * const bus = getRealtimeBus();
	 * bus.subscribe({ channel: jobChannel, channelParams: jobId });
	 * const progress = getRealtimeBusTopicState(jobChannel, 'progress', { channelParams: jobId });
	 * ```
	 */
	subscribe<const TSubscription extends RealtimeSubscription>(
		subscription: TSubscription & CheckedSubscription<TSubscription>
	): () => void {
		const stop = untrack(() => this.#add(resolveSubscription(subscription)));
		onEnd(stop);
		return stop;
	}

	/** Connects again and tries every channel, including those that were refused. */
	reconnect(): void {
		this.#transport?.reconnect();
	}

	/** @internal Finds the bus of an active channel: this one, or one around it. */
	find(channelId: string): RealtimeBus | undefined {
		const isMine = this.#own().has(channelId) || this.#added.has(channelId);
		return isMine ? this : this.parent?.find(channelId);
	}

	/** @internal Topics that a channel is subscribed to. */
	topics(channelId: string): readonly string[] {
		const subscription = this.#own().get(channelId) ?? this.#added.get(channelId)?.subscription;
		return subscription?.topics ?? [];
	}

	/**
	 * @internal The state of a channel of this manager.
	 *
	 * @param held The state that a hook still holds from before the channel was last unsubscribed.
	 */
	state(channelId: string, held?: ChannelState): ChannelState {
		let state = this.#states.get(channelId) ?? held;
		if (!state) {
			const message = `A handler of realtime channel "${channelId}" threw.`;
			state = new ChannelState(
				channelId,
				(error) => this.report({ source: 'handler', message, channelId, error }),
				() => this.bufferIntervalMs
			);
			state.onResync((resync) => this.settings().onResync?.(resync));
			state.healthChanges.listen(() => this.#changes.emit());
		}
		this.#states.set(channelId, state);
		return state;
	}

	/** @internal Stops a channel from now on. */
	finish(channelId: string, detail: string): void {
		this.#transport?.refuse([channelId], detail);
	}

	/** @internal Milliseconds between updates; `undefined` is one frame. */
	get bufferIntervalMs(): number | undefined {
		return this.settings().bufferIntervalMs;
	}

	/**
	 * @internal Applies the manager's current options.
	 *
	 * @param connect Creates the transport, unless it exists already.
	 */
	update(options: TransportOptions, connect?: BusOptions['connect']): void {
		this.#options = options;
		this.#apply(connect);
	}

	/** @internal */
	close(): void {
		// Pending work must not open it again.
		this.update = () => {};
		this.#options = undefined;
		if (DEV) openBuses.delete(this);
		this.#transport?.close();
		this.#retire(new Map());
		this.#changes.emit();
	}

	/** @internal */
	hidden(isHidden: boolean): void {
		this.#isHidden = isHidden;
		this.#changes.emit();
	}

	/** @internal Reports a failure to the app; a mistake in the app's code is logged to the console as well. */
	report(failure: RealtimeClientFailureContext): void {
		const { onFailure } = this.settings();
		const { source, message, error } = failure;
		if (/handler|parse/.test(source)) console.error(message, error);
		else if (DEV && failure.fatal && !onFailure) console.warn(describeFatal(failure));
		try {
			onFailure?.(failure);
		} catch (thrown) {
			console.error(thrown);
		}
	}

	#add(subscription: RealtimeResolvedSubscription): () => void {
		const { channelId } = subscription;
		const added = this.#added.get(channelId) ?? { subscription, users: 0 };
		const known = this.#own().get(channelId) ?? added.subscription;
		if (identify(known) !== identify(subscription)) {
			throw duplicate(channelId, 'already, with other topics or params');
		}
		added.users++;
		this.#added.set(channelId, added);
		this.#apply();
		let isStopped = false;
		return () => {
			if (isStopped) return;
			isStopped = true;
			if (--added.users > 0) return;
			this.#added.delete(channelId);
			this.#apply();
		};
	}

	/**
	 * Passes the wanted channels to the transport. Before the first update and after the end, there are none.
	 */
	#apply(connect = this.#connect): void {
		if (!this.#options) return;
		const subscriptions = untrack(() => this.#merge(this.#options!.subscriptions));
		this.#transport ??= connect(this);
		if (DEV) openBuses.set(this, subscriptions);
		this.#retire(subscriptions);
		this.#transport.update({ ...this.#options, subscriptions });
		this.#changes.emit();
	}

	/** The manager's own subscriptions take precedence over added ones. */
	#merge(own: Subscriptions): Subscriptions {
		const merged = new Map(own);
		for (const [channelId, { subscription }] of this.#added) {
			if (!own.has(channelId)) merged.set(channelId, subscription);
		}
		return merged;
	}

	#readStatus(): RealtimeBusStatus {
		this.#changes.track();
		const reason = this.#pauseReason();
		if (reason) return { status: 'paused', reason };
		const statuses = this.subscriptions.map(({ channelId }) => this.state(channelId).health.status);
		const worst = (['degraded', 'connecting'] as const).find((one) => statuses.includes(one));
		return { status: worst ?? 'connected' };
	}

	#pauseReason(): RealtimePauseReason | undefined {
		if (this.#transport && !this.#options) return 'closed';
		if (this.settings().enabled === false) return 'disabled';
		if (this.subscriptions.length === 0) return 'empty';
		return this.#isHidden ? 'hidden' : undefined;
	}

	/** Drops all channels but these. Hooks that still hold one see that nothing will come. */
	#retire(active: Subscriptions): void {
		for (const [channelId, state] of this.#states) {
			if (active.has(channelId)) continue;
			this.#states.delete(channelId);
			state.tell('degraded', 'The channel is not subscribed.');
		}
	}
}

function describeFatal({ channelId, message, status }: RealtimeClientFailureContext): string {
	const what =
		channelId === undefined ? 'Realtime channels are' : `Realtime channel "${channelId}" is`;
	const code = status ? ` (status ${status})` : '';
	return `${what} not tried again${code}: "${message}". Pass onFailure to <RealtimeManager> to handle this.`;
}
