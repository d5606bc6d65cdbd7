import type { ResyncPayload } from '../../protocol/health.js';
import { RealtimeBus } from '../bus/bus.js';
import type { ChannelSource, MessageOf, RealtimeHealthState, TopicOf } from '../types.js';
import type { RealtimeHookOptions } from './options.js';
import { createSelect, type RealtimeSelect } from './select.js';
import { ChannelRef } from './ref.js';

/** Calls `handler` with every message of a topic from now on. Returns a function that stops this. */
export type RealtimeOnMessage<TSource extends ChannelSource> = <TTopic extends TopicOf<TSource>>(
	topic: TTopic,
	handler: (message: MessageOf<TSource, TTopic>) => void
) => () => void;

/** The result of `getRealtimeBusState`. */
export interface RealtimeBusState<TSource extends ChannelSource = ChannelSource> {
	/** Name of the channel. */
	readonly channelId: string;
	/** Topics that it is subscribed to, sorted. */
	readonly topics: readonly string[];
	/** Raw data of the channel's events, as `select()` of `sveltekit-sse` returns it. */
	readonly select: RealtimeSelect;
	readonly health: RealtimeHealthState;
	/**
	 * Calls `handler` with every message of a topic from now on, until the returned function is called or the
	 * component ends. This includes pieces of data streams; their `kind` shows it. If it throws, the error is
	 * logged and goes to `onFailure`.
	 */
	readonly onMessage: RealtimeOnMessage<TSource>;
	/** Calls `handler` whenever messages of the channel may be missing; ends like `onMessage`. */
	onResync(handler: (resync: ResyncPayload) => void): () => void;
	/** Connects again, and also tries refused channels again. */
	reconnect(): void;
}

/** @internal The common part of hooks that return a whole channel. */
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
				ref.topicOf(state, topic).signal.listen(({ message }) => {
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
 * @param channel A channel, its definition, or a function that returns one.
 * @throws {RealtimeError} `NO_MANAGER` outside a manager and without a bus, `CHANNEL_NOT_ACTIVE` when
 * no manager around subscribes to the channel.
 * @example
 * ```ts
 * const { health, onMessage } = getRealtimeBusState(userChannel, { channelParams: 'alice' });
 * onMessage('message', ({ data }) => console.log(data.message));
 * const live = $derived(health.current.ok);
 * ```
 */
export function getRealtimeBusState<TChannel extends ChannelSource>(
	channel: TChannel,
	options?: RealtimeHookOptions<TChannel>
): RealtimeBusState<TChannel>;
/**
 * The same, with the channel's parameters as a separate argument.
 *
 * @param channelParams A builder's only argument, or a list of its arguments.
 */
export function getRealtimeBusState<TChannel extends ChannelSource>(
	channel: TChannel,
	channelParams?: RealtimeHookOptions<TChannel>['channelParams'],
	options?: Pick<RealtimeHookOptions, 'bus'>
): RealtimeBusState<TChannel>;
export function getRealtimeBusState(
	channel: ChannelSource,
	second?: unknown,
	third?: Pick<RealtimeHookOptions, 'bus'>
): RealtimeBusState {
	const { channelParams, bus } =
		third === undefined && isOptions(second) ? second : { channelParams: second, ...third };
	return channelState(new ChannelRef(channel, channelParams, bus));
}

/**
 * Whether an argument is options. A builder's only argument may be an object as well, but that has other
 * keys.
 */
function isOptions(value: unknown): value is { channelParams?: unknown; bus?: RealtimeBus } {
	const { bus } = Object(value) as { bus?: unknown };
	const keys = Object.keys(Object(value)).join();
	const isBus = bus === undefined || bus instanceof RealtimeBus;
	return isBus && /^(,?(channelParams|bus))+$/.test(keys);
}
