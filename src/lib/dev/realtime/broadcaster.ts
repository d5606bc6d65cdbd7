import { encodeChunk, encodeMessage, runTopicKey, topicKey } from './message.js';
import type { Message, Topic } from './message.js';

// One more than the real server's loop counter: its first subscriber is served before the loop.
const MAX_SUBSCRIBERS = 5_001;

/** One connection that topics are delivered to. */
export interface Subscriber {
	/** Writes one message. Must not throw. */
	write(message: Buffer): void;
}

/**
 * Knows who listens to which topic. Delivers synchronously and keeps no history: a message without
 * listeners is lost, as in the real server. Lives as long as its engine.
 */
export class Broadcaster {
	readonly #topics = new Map<string, Set<Subscriber>>();
	readonly #subscribers = new Map<Subscriber, Set<string>>();
	readonly #onMessage: (message: Message) => void;

	/** @param onMessage Called before a message is delivered. */
	constructor(onMessage: (message: Message) => void = () => {}) {
		this.#onMessage = onMessage;
	}

	/** Pairs of one connection and one topic. */
	get subscriptions(): number {
		let count = 0;
		for (const keys of this.#subscribers.values()) count += keys.size;
		return count;
	}

	/** Adds topics to those of `subscriber`; returns whether it is new here. */
	subscribe(subscriber: Subscriber, topics: readonly Topic[]): boolean {
		if (topics.length === 0) return false;
		const known = this.#subscribers.get(subscriber);
		const keys = known ?? new Set<string>();
		if (!known) this.#subscribers.set(subscriber, keys);
		for (const topic of topics) {
			const key = topicKey(topic);
			keys.add(key);
			const listeners = this.#topics.get(key);
			if (listeners) listeners.add(subscriber);
			else this.#topics.set(key, new Set([subscriber]));
		}
		return !known;
	}

	/** Removes topics from those of `subscriber`; unknown ones are ignored. */
	unsubscribe(subscriber: Subscriber, topics: readonly Topic[]): void {
		const keys = this.#subscribers.get(subscriber);
		for (const topic of topics) {
			const key = topicKey(topic);
			if (keys?.delete(key)) this.#drop(key, subscriber);
		}
	}

	/** Forgets a connection that ended. */
	remove(subscriber: Subscriber): void {
		for (const key of this.#subscribers.get(subscriber) ?? []) this.#drop(key, subscriber);
		this.#subscribers.delete(subscriber);
	}

	publish(message: Message): void {
		this.#onMessage(message);
		this.#deliver(runTopicKey(message.channel, message.topic), () => encodeMessage(message));
	}

	/** Delivers a piece of the data stream that `start` announced. */
	publishChunk(start: Message, streamId: string, text: string): void {
		this.#deliver(runTopicKey(start.channel, start.topic), () =>
			encodeChunk(streamId, text, start.runId)
		);
	}

	#deliver(key: string, encode: () => Buffer): void {
		const listeners = this.#topics.get(key);
		if (!listeners) return;
		const bytes = encode();
		let served = 0;
		for (const listener of [...listeners]) {
			if (served++ === MAX_SUBSCRIBERS) return;
			listener.write(bytes);
		}
	}

	#drop(key: string, subscriber: Subscriber): void {
		const listeners = this.#topics.get(key);
		listeners?.delete(subscriber);
		if (listeners?.size === 0) this.#topics.delete(key);
	}
}
