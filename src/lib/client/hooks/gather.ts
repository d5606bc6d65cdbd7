import { untrack } from 'svelte';
import type { ChannelState, Message, TopicSlot } from '../state/channel.js';
import { follow } from '../state/lifetime.svelte.js';
import { Signal } from '../state/signal.js';
import type { ChannelSource, Reactive } from '../types.js';
import type { RealtimeBus } from '../bus/bus.js';
import { ChannelRef, read } from './ref.js';

/** Options of the hooks that gather messages; the public types depend on the channel. */
export interface GatherOptions {
	channelParams?: unknown;
	bus?: RealtimeBus;
	bufferIntervalMs?: number;
}

/**
 * Gathers the messages of a topic from its creation until the surrounding component (or `$effect.root`) ends,
 * even if nobody reads them. It starts over when the channel or the topic changes. Effects that read it run
 * at most once per frame of the screen.
 */
export abstract class Gather {
	protected readonly ref: ChannelRef;
	readonly #topic: Reactive<string>;
	readonly #signal: Signal;
	#slot: TopicSlot | undefined;

	constructor(channel: ChannelSource, topic: Reactive<string>, options: GatherOptions = {}) {
		this.ref = new ChannelRef(channel, options.channelParams, options.bus);
		this.#topic = topic;
		this.#signal = new Signal(
			(error) => console.error(error),
			() => options.bufferIntervalMs ?? this.ref.owner.bufferIntervalMs
		);
	}

	/** Starts to gather. Called once, when the subclass is set up. */
	protected start(): void {
		this.ref.follow((state) =>
			follow(
				// The state that the topic is read from may change without changing the topic.
				() => this.ref.topicOf(state, read(this.#topic)),
				(slot) => {
					if (this.#slot && slot !== this.#slot) this.clear();
					this.#slot = slot;
					const stops = [
						slot.signal.listen(({ message }) => {
							if (message) this.take(message);
						}),
						this.attend?.(state)
					];
					return () => stops.forEach((stop) => stop?.());
				}
			)
		);
	}

	/** Forgets everything gathered. */
	abstract clear(): void;

	/** Takes a message in. */
	protected abstract take(message: Message): void;

	/** Listens to more than messages. */
	protected attend?(state: ChannelState): () => void;

	/** Makes effects that read this run again. */
	protected changed(): void {
		untrack(() => this.#signal.emit());
	}

	/**
	 * Makes the current effect depend on this. Returns whether the gathered messages belong to the topic that
	 * the arguments name now; while the topic changes, they do not for a moment.
	 */
	protected track(): boolean {
		const slot = this.ref.topic(read(this.#topic));
		this.#signal.track();
		return slot === this.#slot;
	}
}
