import type { SourceMessage } from '../hub/source.js';
import type { Session } from './session.js';

/** How long, in milliseconds, a socket may be behind the one that it replaced. */
const REPEAT_MS = 5_000;

/** What one socket delivered and the next one may deliver again. */
export class Repeats {
	readonly #counts = new Map<string, number>();
	readonly #streams: Set<string>;
	#untilMs = Infinity;

	/**
	 * @param streams Data streams that the first socket is read for.
	 * @param before What the first socket itself may repeat.
	 */
	constructor(streams: Iterable<string>, before: Repeats | undefined) {
		this.#streams = new Set([...streams, ...(before ? before.#streams : [])]);
	}

	/** The first socket delivered `message`. */
	add(message: SourceMessage): void {
		if (message.streamId !== undefined) this.#streams.add(message.streamId);
		else {
			const key = message.key();
			this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
		}
	}

	/** The first socket has ended. */
	seal(): void {
		this.#untilMs = performance.now() + REPEAT_MS;
	}

	/** @returns whether `message` was delivered before; each delivery accounts for one repeat. */
	take(message: SourceMessage): boolean {
		const { streamId, kind } = message;
		if (streamId !== undefined) {
			return kind === 'datastream-end'
				? this.#streams.delete(streamId)
				: this.#streams.has(streamId);
		}
		if (this.#counts.size === 0) return false;
		if (performance.now() >= this.#untilMs) {
			this.#counts.clear();
			return false;
		}
		const key = message.key();
		const count = this.#counts.get(key);
		if (count === undefined) return false;
		if (count === 1) this.#counts.delete(key);
		else this.#counts.set(key, count - 1);
		return true;
	}
}

/**
 * The time between `closing` and the switch to another socket. The old socket is read, and messages of the
 * new one are held back. At the switch the held messages follow, except those that the old socket delivered,
 * too. So nothing is lost, repeated or reordered within a topic. Meanwhile the new socket may be lost and
 * opened again any number of times.
 */
export class Overlap {
	readonly old: Session;
	/** Channels whose last topics the old socket may have ignored. */
	readonly doubtful: ReadonlySet<string>;
	/** The new socket, once it has all topics. */
	successor: Session | undefined;
	#repeats: Repeats | undefined;
	#held: SourceMessage[] = [];

	constructor(old: Session) {
		this.old = old;
		this.doubtful = old.doubtfulChannels();
	}

	/** A new socket is about to be opened. */
	begin(before: Repeats | undefined): void {
		this.#repeats = new Repeats(this.old.streams.keys(), before);
	}

	/** The new socket is lost; the old one continues as if it had never existed. */
	abandon(): void {
		this.successor = undefined;
		this.#repeats = undefined;
		this.#held = [];
	}

	/** The old socket delivered `message`. */
	delivered(message: SourceMessage): void {
		this.#repeats?.add(message);
	}

	/** @returns whether a message of the new socket waits for the switch. */
	holds(message: SourceMessage): boolean {
		// A topic that only the new socket carries has nothing to wait for.
		if (!this.old.has(message.channel, message.topic)) return false;
		this.#held.push(message);
		return true;
	}

	/**
	 * Switches to the new socket. @returns the messages it delivered meanwhile, and those it may still repeat.
	 */
	end(): { messages: SourceMessage[]; repeats: Repeats | undefined } {
		const repeats = this.#repeats;
		repeats?.seal();
		return { messages: this.#held.filter((message) => !repeats?.take(message)), repeats };
	}
}
