import { untrack } from 'svelte';
import type { Readable } from 'svelte/store';
import type { RealtimeTopicEnvelope } from '../../protocol/types.js';
import type { Arrival, TopicSlot } from '../state/channel.js';
import type { ChannelSource, MessageOf, Reactive, RealtimeTopicState, TopicOf } from '../types.js';
import type { RealtimeTopicOptions, RealtimeUnreadable } from './options.js';
import { ChannelRef, read } from './ref.js';

/** The public signatures tie the options to the channel; in here its type is of no use. */
type AnyTopicOptions<T> = Omit<RealtimeTopicOptions<ChannelSource, string, T>, 'channelParams'> & {
	channelParams?: unknown;
};

/** Options with which no `null` can come; `map` alone says what the output is. */
type NeverNull<
	TChannel extends ChannelSource,
	TTopic extends TopicOf<TChannel>,
	TOutput
> = RealtimeTopicOptions<TChannel, TTopic, TOutput> & {
	map: (message: MessageOf<TChannel, TTopic>) => TOutput;
	initial: NoInfer<TOutput>;
	or?: (unreadable: RealtimeUnreadable<NoInfer<TOutput>>) => NoInfer<TOutput>;
};

/** The newest value of a topic, made of its newest message when it is read. */
export class TopicValue<T> implements RealtimeTopicState<T | null>, Readable<T | null> {
	readonly #ref: ChannelRef;
	readonly #topic: Reactive<string>;
	readonly #map: (message: RealtimeTopicEnvelope) => T;
	readonly #or: ((unreadable: RealtimeUnreadable<T>) => T | null) | undefined;
	readonly #initial: T | null;
	#arrival: Arrival | null = null;
	#value: T | null;

	constructor(
		ref: ChannelRef,
		topic: Reactive<string>,
		{ map, or, initial = null }: AnyTopicOptions<T> = {}
	) {
		this.#ref = ref;
		this.#topic = topic;
		this.#map = map ?? ((message) => message as T);
		this.#or = or;
		this.#initial = this.#value = initial;
	}

	get current(): T | null {
		const slot = this.#find();
		slot.signal.track();
		return this.#read(slot);
	}

	/** A store's contract, but every message counts, also one that equals the one before. */
	subscribe(run: (value: T | null) => void): () => void {
		let told = this.#find();
		run(this.#read(told));
		return this.#ref.follow((state) => {
			const slot = state.topic(read(this.#topic));
			if (slot !== told) untrack(() => run(this.#read(slot)));
			told = slot;
			return slot.signal.listen((arrival) => {
				if (arrival === slot.arrival) run(this.#read(slot));
			});
		});
	}

	#find(): TopicSlot {
		return this.#ref.state.topic(read(this.#topic));
	}

	#read({ arrival }: TopicSlot): T | null {
		if (arrival !== this.#arrival) {
			this.#arrival = arrival;
			this.#value = arrival ? this.#take(arrival) : this.#initial;
		}
		return this.#value;
	}

	#take({ raw, message, error }: Arrival): T | null {
		try {
			if (message) return this.#map(message);
			throw error;
		} catch (thrown) {
			const previous = this.#value;
			if (this.#or) return this.#or({ error: thrown as Error, raw, previous });
			// The frame that nobody could parse is reported by the bus already.
			if (message) this.#ref.unreadable(message, thrown);
			return previous;
		}
	}
}

function topicValue<T>(
	channel: ChannelSource,
	topic: Reactive<string>,
	options: AnyTopicOptions<T> = {}
): TopicValue<T> {
	return new TopicValue(
		new ChannelRef(channel, options.channelParams, options.bus),
		topic,
		options
	);
}

/**
 * A store of a topic's newest message, or what `map` makes of it; `null` before the first. Unlike with
 * Svelte's own stores, subscribers hear of every message, also of one that equals the one before.
 *
 * @param channel A channel, its definition, or a function that gives one.
 * @param topic Name of the topic, or a function that gives one.
 * @throws {RealtimeError} `NO_MANAGER` outside a manager and without a bus, `CHANNEL_NOT_ACTIVE` when
 * no manager around subscribes to the channel.
 * @example
 * ```ts
 * const text = getRealtimeBusTopicJson(demoChannel, 'message', {
 * 	map: ({ data }) => data.message
 * });
 * ```
 */
export function getRealtimeBusTopicJson<
	TChannel extends ChannelSource,
	TTopic extends TopicOf<TChannel>,
	TOutput
>(
	channel: TChannel,
	topic: Reactive<TTopic>,
	options: NeverNull<TChannel, TTopic, TOutput>
): Readable<TOutput>;
export function getRealtimeBusTopicJson<
	TChannel extends ChannelSource,
	TTopic extends TopicOf<TChannel>,
	TOutput = MessageOf<TChannel, TTopic>
>(
	channel: TChannel,
	topic: Reactive<TTopic>,
	options?: RealtimeTopicOptions<TChannel, TTopic, TOutput> & { map?: undefined }
): Readable<TOutput | MessageOf<TChannel, TTopic> | null>;
export function getRealtimeBusTopicJson<
	TChannel extends ChannelSource,
	TTopic extends TopicOf<TChannel>,
	TOutput
>(
	channel: TChannel,
	topic: Reactive<TTopic>,
	options: RealtimeTopicOptions<TChannel, TTopic, TOutput>
): Readable<TOutput | null>;
export function getRealtimeBusTopicJson(
	channel: ChannelSource,
	topic: Reactive<string>,
	options?: AnyTopicOptions<unknown>
): Readable<unknown> {
	return topicValue(channel, topic, options);
}

/**
 * The newest message of a topic, or what `map` makes of it, as `current`; `null` (or `initial`) before
 * the first. `map` is called with the newest message when `current` is read, not with those between.
 *
 * @param channel A channel, its definition, or a function that gives one.
 * @param topic Name of the topic, or a function that gives one.
 * @throws {RealtimeError} `NO_MANAGER` outside a manager and without a bus, `CHANNEL_NOT_ACTIVE` when
 * no manager around subscribes to the channel; reading `current` throws the same when the arguments
 * come to mean such a channel.
 * @example
 * ```ts
 * const progress = getRealtimeBusTopicState(demoChannel, 'progress', {
 * 	map: ({ data }) => data.percent,
 * 	initial: 0
 * });
 * const half = $derived(progress.current >= 50);
 * ```
 */
export function getRealtimeBusTopicState<
	TChannel extends ChannelSource,
	TTopic extends TopicOf<TChannel>,
	TOutput
>(
	channel: TChannel,
	topic: Reactive<TTopic>,
	options: NeverNull<TChannel, TTopic, TOutput>
): RealtimeTopicState<TOutput>;
export function getRealtimeBusTopicState<
	TChannel extends ChannelSource,
	TTopic extends TopicOf<TChannel>,
	TOutput = MessageOf<TChannel, TTopic>
>(
	channel: TChannel,
	topic: Reactive<TTopic>,
	options?: RealtimeTopicOptions<TChannel, TTopic, TOutput> & { map?: undefined }
): RealtimeTopicState<TOutput | MessageOf<TChannel, TTopic> | null>;
export function getRealtimeBusTopicState<
	TChannel extends ChannelSource,
	TTopic extends TopicOf<TChannel>,
	TOutput
>(
	channel: TChannel,
	topic: Reactive<TTopic>,
	options: RealtimeTopicOptions<TChannel, TTopic, TOutput>
): RealtimeTopicState<TOutput | null>;
export function getRealtimeBusTopicState(
	channel: ChannelSource,
	topic: Reactive<string>,
	options?: AnyTopicOptions<unknown>
): RealtimeTopicState<unknown> {
	return topicValue(channel, topic, options);
}
