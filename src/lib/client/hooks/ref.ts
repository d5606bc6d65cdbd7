import { untrack } from 'svelte';
import type { ChannelLike } from '../../protocol/channel.js';
import { resolveChannel } from '../../protocol/channel.js';
import { RealtimeError } from '../../protocol/errors.js';
import type { RealtimeBus } from '../bus.js';
import type { ChannelState } from '../channel.js';
import { getRealtimeBus } from '../context.js';
import { follow, onEnd } from '../lifetime.svelte.js';
import type { ChannelSource, Reactive } from '../types.js';

/** The value of a reactive argument. */
export function read<T>(value: Reactive<T>): T {
	return typeof value === 'function' ? (value as () => T)() : value;
}

/**
 * What a hook holds of its channel: finds it by its arguments, follows them, and keeps its state until
 * the component (or `$effect.root`) around ends.
 */
export class ChannelRef {
	readonly #bus: RealtimeBus;
	readonly #source: ChannelSource;
	readonly #params: Reactive<unknown>;
	readonly #stops = new Set<() => void>();
	#ended = false;
	#found: { bus: RealtimeBus; state: ChannelState } | undefined;

	/**
	 * @throws {RealtimeError} `NO_MANAGER` without a bus outside a manager, `CHANNEL_NOT_ACTIVE` when no
	 * manager around subscribes to the channel.
	 */
	constructor(source: ChannelSource, params: Reactive<unknown>, bus = getRealtimeBus()) {
		this.#bus = bus;
		this.#source = source;
		this.#params = params;
		void this.state;
		this.follow((state) => untrack(() => this.owner.hold(state)));
		onEnd(() => {
			this.#ended = true;
			for (const stop of this.#stops) stop();
		});
	}

	/** @throws {RealtimeError} `CHANNEL_NOT_ACTIVE` when the arguments now mean a channel that is not. */
	get state(): ChannelState {
		return this.#find().state;
	}

	/** The bus that carries the channel: the nearest, or one of those around it. */
	get owner(): RealtimeBus {
		return this.#find().bus;
	}

	/**
	 * Runs `start` for the channel, and anew when it becomes another, until the returned function is
	 * called or the component ends.
	 */
	follow(start: (state: ChannelState) => () => void): () => void {
		if (this.#ended) return () => {};
		const end = follow(() => {
			let state: ChannelState;
			try {
				({ state } = this);
			} catch {
				// Whoever reads is told; here nobody could catch it.
				return;
			}
			return start(state);
		});
		const stop = () => {
			this.#stops.delete(stop);
			end();
		};
		this.#stops.add(stop);
		return stop;
	}

	#find(): { bus: RealtimeBus; state: ChannelState } {
		const channel = this.#source;
		// A channel definition is a function as well, but has topics.
		const resolved = typeof channel === 'function' && !('topics' in channel) ? channel() : channel;
		const { name } = resolveChannel(resolved as ChannelLike, read(this.#params));
		// Once found it stays, so that what a component holds survives its subscription.
		if (this.#found?.state.channelId === name) return this.#found;
		const found = this.#bus.find(name);
		if (!found) {
			const active = this.#bus.channelIds.map((one) => `"${one}"`).join(', ') || 'none';
			throw new RealtimeError(
				'CHANNEL_NOT_ACTIVE',
				`Realtime channel "${name}" is not active in <RealtimeManager> (active: ${active}). Add it to \`subscriptions\`, or check channelParams.`
			);
		}
		return (this.#found = found);
	}
}
