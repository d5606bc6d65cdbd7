import type { ResyncPayload } from '../../protocol/health.js';
import { createSelect } from './select.js';
import type { ChannelSource, MessageOf, RealtimeHealthState, TopicOf } from '../types.js';
import type { RealtimeHookOptions } from './options.js';
import type { RealtimeSelect } from './select.js';
import { ChannelRef } from './ref.js';

/** Calls `handler` with every message of a topic from now on. Returns the end of it. */
export type RealtimeOnMessage<TSource extends ChannelSource> = <TTopic extends TopicOf<TSource>>(
	topic: TTopic,
	handler: (message: MessageOf<TSource, TTopic>) => void
) => () => void;

/** What `getRealtimeBusState` gives. */
export interface RealtimeBusState<TSource extends ChannelSource = ChannelSource> {
	/** Name of the channel. */
	readonly channelId: string;
	/** Topics that it is subscribed to, sorted. */
	readonly topics: readonly string[];
	/** Raw data of the channel's events, as `select()` of `sveltekit-sse` gives it. */
	readonly select: RealtimeSelect;
	readonly health: RealtimeHealthState;
	/**
	 * Calls `handler` with every message of a topic from now on, until the returned function is called
	 * or the component ends; pieces of data streams too, told apart by their `kind`. What it throws is logged and goes to `onFailure`.
	 */
	readonly onMessage: RealtimeOnMessage<TSource>;
	/** Calls `handler` whenever messages of the channel may be missing; ends like `onMessage`. */
	onResync(handler: (resync: ResyncPayload) => void): () => void;
	/** Connects anew and tries again what was refused. */
	reconnect(): void;
}

/** @internal What all hooks that give a whole channel share. */
export function channelState<TSource extends ChannelSource>(
	ref: ChannelRef
): RealtimeBusState<TSource> {
	return {
		get channelId() {
			return ref.state.channelId;
		},
		get topics() {
			return ref.owner.topics(ref.state.channelId);
		},
		select: createSelect(ref),
		health: {
			get current() {
				const { state } = ref;
				state.healthChanges.track();
				return state.health;
			}
		},
		onMessage: (topic, handler) =>
			ref.follow((state) =>
				state.topic(topic).signal.listen(({ message }) => {
					if (message) handler(message as MessageOf<TSource, typeof topic>);
				})
			),
		onResync: (handler) => ref.follow((state) => state.onResync(handler)),
		reconnect: () => ref.owner.reconnect()
	};
}

/**
 * A channel's name, topics, health, raw events and messages as they come.
 *
 * @param channel A channel, its definition, or a function that gives one.
 * @param channelParams A builder's only argument, or a list of its arguments.
 * @throws {RealtimeError} `NO_MANAGER` outside a manager and without a bus, `CHANNEL_NOT_ACTIVE` when
 * no manager around subscribes to the channel.
 * @example
 * ```ts
 * const { health, onMessage } = getRealtimeBusState(userChannel, 'alice');
 * onMessage('message', ({ data }) => console.log(data.message));
 * const live = $derived(health.current.ok);
 * ```
 */
export function getRealtimeBusState<TChannel extends ChannelSource>(
	channel: TChannel,
	channelParams?: RealtimeHookOptions<TChannel>['channelParams'],
	options?: Pick<RealtimeHookOptions, 'bus'>
): RealtimeBusState<TChannel> {
	return channelState(new ChannelRef(channel, channelParams, options?.bus));
}
