import { DEV } from 'esm-env';
import { ChannelState } from '../state/channel.js';
import { RealtimeConnection, type ConnectionOptions } from '../transport/connection.js';
import { openBuses } from './open.js';
import type { Subscriptions } from '../subscriptions.js';
import type {
	RealtimeClientFailureContext,
	RealtimeManagerProps,
	RealtimeResolvedSubscription
} from '../types.js';

/** Props that a bus reads when it needs them. */
type BusProps = Pick<RealtimeManagerProps, 'onFailure' | 'onResync' | 'bufferIntervalMs'>;

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
	/** @internal That of the manager around. */
	readonly parent: RealtimeBus | undefined;
	#connection: RealtimeConnection | undefined;

	/** @internal */
	constructor(props: () => BusProps, active: () => Subscriptions, parent?: RealtimeBus) {
		this.#props = props;
		this.#active = active;
		this.parent = parent;
		// A list that makes no sense throws now, not when something first reads it.
		active();
	}

	/** Subscriptions of this manager, those of managers around it excluded. */
	get subscriptions(): readonly RealtimeResolvedSubscription[] {
		return [...this.#active().values()];
	}

	/** Connects anew and tries every channel again, also those that were refused. */
	reconnect(): void {
		this.#connection?.reconnect();
	}

	/** @internal Finds the bus of an active channel: this one, or one around it. */
	find(channelId: string): RealtimeBus | undefined {
		return this.#active().has(channelId) ? this : this.parent?.find(channelId);
	}

	/** @internal Topics that a channel is subscribed to. */
	topics(channelId: string): readonly string[] {
		return this.#active().get(channelId)?.topics ?? [];
	}

	/**
	 * @internal What is known of a channel of this manager.
	 *
	 * @param held What a hook still has of it from before it was last unsubscribed.
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
			state.onResync((resync) => this.#props().onResync?.(resync));
		}
		this.#states.set(channelId, state);
		return state;
	}

	/** @internal Leaves a channel alone from now on. */
	finish(channelId: string, detail: string): void {
		this.#connection?.refuse([channelId], detail);
	}

	/** @internal Milliseconds between updates; `undefined` is one frame. */
	get bufferIntervalMs(): number | undefined {
		return this.#props().bufferIntervalMs;
	}

	/** @internal */
	update(options: ConnectionOptions): void {
		this.#connection ??= new RealtimeConnection(this);
		if (DEV) openBuses.set(this, options.subscriptions);
		this.#retire(options.subscriptions);
		this.#connection.update(options);
	}

	/** @internal */
	close(): void {
		if (DEV) openBuses.delete(this);
		this.#connection?.close();
		this.#retire(new Map());
	}

	/** @internal Tells the app of a failure; of a mistake in code, the console as well. */
	report(failure: RealtimeClientFailureContext): void {
		const { onFailure } = this.#props();
		const { source, message, error } = failure;
		if (source === 'handler' || source === 'parse') console.error(message, error);
		try {
			onFailure?.(failure);
		} catch (thrown) {
			console.error(thrown);
		}
	}

	/** Lets go of all but these channels; whoever still holds one is told that nothing will come. */
	#retire(active: Subscriptions): void {
		for (const [channelId, state] of this.#states) {
			if (active.has(channelId)) continue;
			this.#states.delete(channelId);
			state.tell('degraded', 'The channel is not subscribed.');
		}
	}
}
