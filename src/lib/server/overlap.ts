import { fingerprint } from './fingerprint.js';
import type { UpstreamMessage } from './message.js';
import type { Session } from './session.js';

/**
 * Two sockets of which one is about to close: nothing is lost, repeated or reordered within a topic.
 * Until the switch the old socket is read and what the new one brings is held back; at the switch the
 * held messages follow, less those that the old one had brought already. A data stream is read to its
 * end from the socket that started it.
 */
export class Overlap {
	readonly old: Session;
	switched = false;
	/** Deliveries of the old socket since the new one opened, that the new one will repeat. */
	readonly #delivered = new Map<string, number>();
	readonly #oldStreams: Set<string>;
	#held: UpstreamMessage[] = [];

	constructor(old: Session) {
		this.old = old;
		this.#oldStreams = new Set(old.streams.keys());
	}

	/** @returns whether a message of the old socket is to be delivered. */
	takeOld(message: UpstreamMessage): boolean {
		const { streamId } = message;
		if (streamId !== undefined) {
			if (!this.switched) this.#oldStreams.add(streamId);
			return this.#oldStreams.has(streamId);
		}
		if (this.switched) return false;
		const key = fingerprint(message);
		this.#delivered.set(key, (this.#delivered.get(key) ?? 0) + 1);
		return true;
	}

	/** @returns whether a message of the new socket is to be delivered now. */
	takeNew(message: UpstreamMessage): boolean {
		// A topic that only the new socket carries has nothing to wait for.
		if (!this.switched && this.old.has(message.channel, message.topic)) {
			this.#held.push(message);
			return false;
		}
		return !this.#isRepeat(message);
	}

	/** Makes the new socket the source. @returns what it brought meanwhile, in order. */
	switch(): UpstreamMessage[] {
		this.switched = true;
		const held = this.#held;
		this.#held = [];
		return held.filter((message) => !this.#isRepeat(message));
	}

	/** Forgets what the new socket brought: it was lost, and the old one still delivers. */
	restart(): void {
		this.#held = [];
		this.#delivered.clear();
	}

	#isRepeat(message: UpstreamMessage): boolean {
		if (message.streamId !== undefined) return this.#oldStreams.has(message.streamId);
		const key = fingerprint(message);
		const count = this.#delivered.get(key);
		if (!count) return false;
		this.#delivered.set(key, count - 1);
		return true;
	}
}
