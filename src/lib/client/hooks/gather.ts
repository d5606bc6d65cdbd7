import { untrack } from 'svelte';
import type { ChannelState, Message, TopicSlot } from '../state/channel.js';
import { follow } from '../state/lifetime.svelte.js';
import { Signal } from '../state/signal.js';
import type { ChannelSource, Reactive } from '../types.js';
import type { RealtimeBus } from '../bus/bus.js';
import { ChannelRef, read } from './ref.js';

/** Options of the hooks that gather; the public ones are typed by the channel. */
export interface GatherOptions {
	channelParams?: unknown;
	bus?: RealtimeBus;
	bufferIntervalMs?: number;
}

/**
 * Gathers what comes on a topic from its creation until the component (or `$effect.root`) around ends,
 * whether or not anyone reads it; starts over when the channel or the topic becomes another. Readers run
 * once per frame of the screen.
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

	/** Starts to gather; called once, when the subclass is set up. */
	protected start(): void {
		this.ref.follow((state) =>
			follow(
				// What the topic is read from may change and the topic be the same.
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

	/** Makes what reads this run again. */
	protected changed(): void {
		untrack(() => this.#signal.emit());
	}

	/**
	 * Makes the effect that runs now depend on this. Answers whether what was gathered is of the topic
	 * that the arguments mean now; on the way to another it is not, for a moment.
	 */
	protected track(): boolean {
		const slot = this.ref.topic(read(this.#topic));
		this.#signal.track();
		return slot === this.#slot;
	}
}
