import { ChannelState } from './channel.js';
import {
	RealtimeConnection,
	type ConnectionOptions,
	type ConnectionSink,
	type PauseReason
} from './connection.js';
import type { PageEnvironment } from './page.js';
import { Signal } from './signal.js';
import type {
	ReactiveCurrent,
	RealtimeClientFailureContext,
	RealtimeManagerProps,
	RealtimeResolvedSubscription
} from './types.js';
import type { HealthPayload } from '../protocol/health.js';

type BusProps = Pick<RealtimeManagerProps, 'onFailure' | 'onResync' | 'bufferIntervalMs'>;
type Subscriptions = ReadonlyMap<string, RealtimeResolvedSubscription>;

/**
 * What a `RealtimeManager` provides to the components inside: the state of its channels and the one
 * connection that fills it. Made by the manager and ended with it; afterwards everything read from it
 * keeps its last value.
 *
 * @example
 * ```ts
 * const bus = getRealtimeBus();
 * const tryAgain = () => bus.reconnect();
 * ```
 */
export class RealtimeBus {
	readonly #states = new Map<string, ChannelState>();
	readonly #props: () => BusProps;
	readonly #active: () => Subscriptions;
	readonly #parent: RealtimeBus | undefined;
	readonly #environment: PageEnvironment | undefined;
	readonly #pauses: Signal;
	#pauseReason: PauseReason | null = null;
	#connection: RealtimeConnection | undefined;

	/** @internal */
	constructor(
		props: () => BusProps,
		active: () => Subscriptions,
		parent?: RealtimeBus,
		environment?: PageEnvironment
	) {
		this.#environment = environment;
		this.#props = props;
		this.#active = active;
		// A list that makes no sense throws now, not when something first reads it.
		active();
		this.#parent = parent;
		this.#pauses = new Signal((error) => this.#handlerFailed(error));
	}

	/** Subscriptions of this manager, those of managers around it excluded. */
	get subscriptions(): readonly RealtimeResolvedSubscription[] {
		return [...this.#active().values()];
	}

	/** Why no stream is held on purpose: `enabled` is false, or the page is hidden; else `null`. */
	readonly paused: ReactiveCurrent<PauseReason | null> = ((bus: RealtimeBus) => ({
		get current() {
			bus.#pauses.track();
			return bus.#pauseReason;
		}
	}))(this);

	/** Connects anew and tries every channel again, also those that were refused. */
	reconnect(): void {
		this.#connection?.reconnect();
	}

	/** @internal Finds an active channel here or in the managers around. */
	find(channelId: string): { bus: RealtimeBus; state: ChannelState } | undefined {
		return this.#active().has(channelId)
			? { bus: this, state: this.#state(channelId) }
			: this.#parent?.find(channelId);
	}

	/** @internal Names of the active channels, those of managers around included. */
	get channelIds(): string[] {
		return [...this.#active().keys(), ...(this.#parent?.channelIds ?? [])];
	}

	/** @internal */
	topics(channelId: string): readonly string[] {
		return this.#active().get(channelId)?.topics ?? [];
	}

	/** @internal Keeps a channel's state while it is not active. Returns the release. */
	hold(state: ChannelState): () => void {
		this.#states.set(state.channelId, state);
		state.holders++;
		return () => {
			state.holders--;
			this.#sweep();
		};
	}

	/** @internal Leaves a channel alone from now on. */
	finish(channelId: string, detail: string): void {
		this.#connection?.finish(channelId);
		this.#inactive(this.#state(channelId), detail);
	}

	/** @internal Milliseconds between updates; `undefined` is one frame. */
	get bufferIntervalMs(): number | undefined {
		return this.#props().bufferIntervalMs;
	}

	/** @internal */
	update(options: Omit<ConnectionOptions, 'subscriptions'>, active: Subscriptions): void {
		this.#connection ??= new RealtimeConnection(this.#sink(), this.#environment);
		this.#sweep();
		for (const state of this.#states.values()) {
			if (!active.has(state.channelId)) this.#inactive(state, 'The channel is not subscribed.');
		}
		this.#connection.update({ ...options, subscriptions: active });
	}

	/** @internal */
	close(): void {
		this.#connection?.close();
		this.#connection = undefined;
		for (const state of this.#states.values()) {
			this.#inactive(state, 'The manager of the channel is gone.');
		}
	}

	/** @internal Tells the app of a failure, and the console where the app would not hear of it. */
	report(failure: RealtimeClientFailureContext): void {
		const { onFailure } = this.#props();
		const { source, message, error } = failure;
		if (source === 'handler' || (source === 'parse' && !onFailure)) console.error(message, error);
		try {
			onFailure?.(failure);
		} catch (thrown) {
			console.error('onFailure of the RealtimeManager threw.', thrown);
		}
	}

	#state(channelId: string): ChannelState {
		let state = this.#states.get(channelId);
		if (!state) {
			state = new ChannelState(
				channelId,
				(error) => this.#handlerFailed(error, channelId),
				() => this.#props().bufferIntervalMs
			);
			state.resyncs.listen((resync) => this.#props().onResync?.(resync));
			this.#states.set(channelId, state);
		}
		return state;
	}

	#handlerFailed(error: unknown, channelId?: string): void {
		const message = `A handler of ${channelId ? `the realtime channel "${channelId}"` : 'realtime state'} threw.`;
		this.report({ source: 'handler', message, channelId, error });
	}

	/** Forgets channels that are neither active nor held. */
	#sweep(): void {
		for (const [channelId, state] of this.#states) {
			if (!state.holders && !this.#active().has(channelId)) this.#states.delete(channelId);
		}
	}

	#inactive(state: ChannelState, detail: string): void {
		const { channelId: channel } = state;
		this.#setHealth({ ok: false, status: 'degraded', ts: Date.now(), channel, detail });
	}

	/** Takes what this side knows of a channel's health; saying it again is no change. */
	#setHealth(health: HealthPayload): void {
		const state = this.#states.get(health.channel);
		if (!state || (state.health.status === health.status && state.health.detail === health.detail))
			return;
		state.health = health;
	}

	#sink(): ConnectionSink {
		return {
			cursor: (channel) => this.#state(channel).cursor,
			deliver: (frame, speaks) => this.#states.get(frame.channel)?.receive(frame, speaks),
			health: (health) => this.#setHealth(health),
			unreadable: (channels, raw, error) => {
				for (const channel of channels) this.#states.get(channel)?.receiveUnreadable(raw, error);
				const message = `The realtime endpoint sent something unreadable: ${raw.slice(0, 200)}`;
				this.report({ source: 'parse', message, error });
			},
			failure: (failure) => this.report(failure),
			paused: (reason) => {
				if (reason === this.#pauseReason) return;
				this.#pauseReason = reason;
				this.#pauses.emit();
			}
		};
	}
}
