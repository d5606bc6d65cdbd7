import type {
	ChannelSource,
	MessageOf,
	ReactiveCurrent,
	RealtimeTopicState,
	TopicOf
} from '../types.js';
import type { RealtimeHookOptions } from './options.js';
import { ChannelRef } from './ref.js';
import { TopicValue } from './topic.js';
import { channelState, type RealtimeBusState } from './state.js';

/** The result of `getRealtimeBusChannel`. */
export interface RealtimeChannel<TSource extends ChannelSource = ChannelSource> extends Omit<
	RealtimeBusState<TSource>,
	'topics'
> {
	/** The newest message of each topic; `null` before the first. */
	readonly topics: {
		readonly [TTopic in TopicOf<TSource>]: RealtimeTopicState<MessageOf<TSource, TTopic> | null>;
	};
	/** The newest message of any topic; `null` before the first. */
	readonly last: ReactiveCurrent<MessageOf<TSource> | null>;
}

/**
 * A whole channel in one object: the newest message of each topic and of all topics, health, and messages as
 * they come.
 *
 * @param channel A channel, its definition, or a function that returns one.
 * @throws {RealtimeError} `NO_MANAGER` outside a manager and without a bus, `CHANNEL_NOT_ACTIVE` when
 * no manager around subscribes to the channel.
 * @example
 * ```ts
 * const demo = getRealtimeBusChannel(demoChannel);
 * const text = $derived(demo.topics.message.current?.data.message);
 * ```
 */
export function getRealtimeBusChannel<TChannel extends ChannelSource>(
	channel: TChannel,
	options: RealtimeHookOptions<TChannel> = {}
): RealtimeChannel<TChannel> {
	const ref = new ChannelRef(channel, options.channelParams, options.bus);
	const states = new Map<string, RealtimeTopicState<unknown>>();
	const state = (topic: string): RealtimeTopicState<unknown> => {
		let one = states.get(topic);
		if (!one) {
			one = new TopicValue(ref, topic);
			states.set(topic, one);
		}
		return one;
	};
	const own = {
		get topics() {
			const names = [...ref.channel.topics, ...ref.owner.topics(ref.state.channelId)];
			return Object.fromEntries(names.map((topic) => [topic, state(topic)]));
		},
		last: {
			get current() {
				const { state } = ref;
				state.frames.track();
				return state.last;
			}
		}
	};
	return Object.defineProperties(
		channelState<TChannel>(ref),
		Object.getOwnPropertyDescriptors(own)
	) as unknown as RealtimeChannel<TChannel>;
}
