import { firstPiece } from './pieces.js';
import type { UpstreamTopic } from './token.js';

/** Most topics of one channel in a row while other channels wait. */
const TURN_TOPICS = 16;

/**
 * A set of topics from which pieces are taken. Channels take turns, so that a channel with thousands of
 * topics does not hold up the others. Taking a piece costs as much as the piece, however much waits.
 */
export class TopicQueue {
	readonly #channels = new Map<string, Set<string>>();

	get isEmpty(): boolean {
		return this.#channels.size === 0;
	}

	add({ channel, name }: UpstreamTopic): void {
		const names = this.#channels.get(channel);
		if (names) names.add(name);
		else this.#channels.set(channel, new Set([name]));
	}

	delete({ channel, name }: UpstreamTopic): void {
		const names = this.#channels.get(channel);
		if (names?.delete(name) && names.size === 0) this.#channels.delete(channel);
	}

	clear(): void {
		this.#channels.clear();
	}

	/** Removes as many topics as fit into a token of `maxBytes`, and at least one. @returns them. */
	take(maxBytes: number): UpstreamTopic[] {
		return firstPiece(this.#drain(), maxBytes);
	}

	/** Removes the topics one by one. A topic leaves the queue when the next one is requested. */
	*#drain(): Generator<UpstreamTopic> {
		for (const [channel, names] of this.#channels) {
			let taken = 0;
			for (const name of names) {
				yield { channel, name };
				names.delete(name);
				if (++taken === TURN_TOPICS) break;
			}
			// The loop comes back to a channel that is added again, after all others.
			this.#channels.delete(channel);
			if (names.size > 0) this.#channels.set(channel, names);
		}
	}
}
