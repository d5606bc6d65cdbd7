import { untrack } from 'svelte';
import type { Readable } from 'svelte/store';
import type { RealtimeBus } from '../bus/bus.js';
import type { Arrival, Message, TopicSlot } from '../state/channel.js';
import type { ChannelSource, MessageOf, Reactive, RealtimeTopicState, TopicOf } from '../types.js';
import type { RealtimeTopicOptions, RealtimeUnreadable } from './options.js';
import { ChannelRef, read } from './ref.js';

/** The public signature ties the options to the channel; the implementation does not need the type. */
interface AnyTopicOptions {
	channelParams?: unknown;
	bus?: RealtimeBus;
	map?: (message: never) => unknown;
	or?: (unreadable: RealtimeUnreadable<never>) => unknown;
	initial?: unknown;
}

/** The newest value of a topic. It is computed from the newest message when it is read. */
export class TopicValue<T> implements RealtimeTopicState<T>, Readable<T> {
	readonly #ref: ChannelRef;
	readonly #topic: Reactive<string>;
	readonly #map: (message: Message) => T;
	readonly #or: ((unreadable: RealtimeUnreadable<T>) => T) | undefined;
	readonly #initial: T;
	#arrival: Arrival | null = null;
	#value: T;

	constructor(ref: ChannelRef, topic: Reactive<string>, options: AnyTopicOptions = {}) {
		this.#ref = ref;
		this.#topic = topic;
		this.#map = (options.map ?? ((message) => message)) as (message: Message) => T;
		this.#or = options.or as ((unreadable: RealtimeUnreadable<T>) => T) | undefined;
		this.#initial = this.#value = (options.initial ?? null) as T;
	}

	get current(): T {
		const slot = this.#find();
		slot.signal.track();
		return this.#read(slot);
	}

	/** Follows the store contract, but every message counts, even if it equals the one before. */
	subscribe(run: (value: T) => void): () => void {
		let current = this.#find();
		run(this.#read(current));
		return this.#ref.follow((state) => {
			const slot = state.topic(read(this.#topic));
			if (slot !== current) untrack(() => run(this.#read(slot)));
			current = slot;
			return slot.signal.listen((arrival) => {
				if (arrival === slot.arrival) run(this.#read(slot));
			});
		});
	}

	#find(): TopicSlot {
		return this.#ref.topic(read(this.#topic));
	}

	#read({ arrival }: TopicSlot): T {
		if (arrival !== this.#arrival) {
			this.#arrival = arrival;
			this.#value = arrival ? this.#take(arrival) : this.#initial;
		}
		return this.#value;
	}

	#take({ raw, message, error }: Arrival): T {
		try {
			if (message) return this.#map(message);
			throw error;
		} catch (thrown) {
			const previous = this.#value;
			if (this.#or) return this.#or({ error: thrown as Error, raw, previous });
			// The transport has already reported a frame that could not be parsed.
			if (message) this.#ref.unreadable(message, thrown);
			return previous;
		}
	}
}

function topicValue<T>(
	channel: ChannelSource,
	topic: Reactive<string>,
	options: AnyTopicOptions = {}
): TopicValue<T> {
	return new TopicValue(
		new ChannelRef(channel, options.channelParams, options.bus),
		topic,
		options
	);
}

/**
 * A store of a topic's newest message, or of the result of `map` for it; `null` (or `initial`) before the
 * first. Unlike with Svelte's own stores, subscribers get every message, even if it equals the one before.
 *
 * @param channel A channel, its definition, or a function that returns one.
 * @param topic Name of the topic, or a function that returns one.
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
	TOutput = MessageOf<TChannel, TTopic>,
	TInitial = null,
	TFallback = never
>(
	channel: TChannel,
	topic: Reactive<TTopic>,
	options?: RealtimeTopicOptions<TChannel, TTopic, TOutput, TInitial, TFallback>
): Readable<TOutput | TInitial | TFallback> {
	return topicValue(channel, topic, options);
}

/**
 * The newest message of a topic, or the result of `map` for it, as `current`; `null` (or `initial`) before
 * the first. `map` is called with the newest message when `current` is read; it may skip messages in between.
 *
 * @param channel A channel, its definition, or a function that returns one.
 * @param topic Name of the topic, or a function that returns one.
 * @throws {RealtimeError} `NO_MANAGER` outside a manager and without a bus, `CHANNEL_NOT_ACTIVE` when no
 * manager around subscribes to the channel. Reading `current` throws the same error if the arguments have
 * changed to a channel that is not active.
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
	TOutput = MessageOf<TChannel, TTopic>,
	TInitial = null,
	TFallback = never
>(
	channel: TChannel,
	topic: Reactive<TTopic>,
	options?: RealtimeTopicOptions<TChannel, TTopic, TOutput, TInitial, TFallback>
): RealtimeTopicState<TOutput | TInitial | TFallback> {
	return topicValue(channel, topic, options);
}
