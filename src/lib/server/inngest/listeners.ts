import type { SourceListener, SourceMessage } from '../hub/source.js';
import { TopicQueue } from './queue.js';
import type { UpstreamTopic } from './token.js';

interface Entry {
	readonly listener: SourceListener;
	/** Number of its topics that the current socket does not carry. */
	missing: number;
	isLive: boolean;
}

interface Topic {
	readonly entries: Set<Entry>;
	/** Whether the current socket carries it. */
	isCarried: boolean;
}

/**
 * Who listens to which topics, and how that differs from what the current socket carries. The cost of a
 * change depends only on the topics that it concerns.
 */
export class Listeners {
	/** Topics that someone listens to but the current socket does not carry. */
	readonly missing = new TopicQueue();
	/** Topics that the current socket carries but nobody listens to. */
	readonly #surplus = new TopicQueue();
	readonly #entries = new Set<Entry>();
	readonly #channels = new Map<string, Map<string, Topic>>();
	/** Entries that have all of their topics and may not have been told yet. */
	readonly #ready = new Set<Entry>();

	get size(): number {
		return this.#entries.size;
	}

	/** Adds a listener. @returns a function that removes it. */
	add(listener: SourceListener): () => void {
		const entry: Entry = { listener, missing: 0, isLive: false };
		this.#entries.add(entry);
		for (const id of topicsOf(listener)) {
			const topic = this.#enter(id);
			topic.entries.add(entry);
			this.#surplus.delete(id);
			if (topic.isCarried) continue;
			entry.missing++;
			this.missing.add(id);
		}
		if (entry.missing === 0) this.#ready.add(entry);
		return () => this.#remove(entry);
	}

	/** Removes everybody, without telling them. */
	clear(): void {
		for (const entry of this.#entries) entry.isLive = false;
		this.#entries.clear();
		this.#channels.clear();
		this.reset();
	}

	/** The current socket carries these topics from now on. */
	carried(topics: readonly UpstreamTopic[]): void {
		for (const id of topics) {
			const topic = this.#enter(id);
			topic.isCarried = true;
			this.missing.delete(id);
			if (topic.entries.size === 0) this.#surplus.add(id);
			for (const entry of topic.entries) if (--entry.missing === 0) this.#ready.add(entry);
		}
	}

	/** The current socket did not get these topics, which were taken from `missing`. */
	refused(topics: readonly UpstreamTopic[]): void {
		for (const id of topics) {
			const topic = this.#find(id);
			if (topic && !topic.isCarried) this.missing.add(id);
		}
	}

	/**
	 * Removes a piece of the topics that nobody listens to from those of the current socket. @returns the piece.
	 */
	takeSurplus(maxBytes: number): UpstreamTopic[] {
		const piece = this.#surplus.take(maxBytes);
		for (const id of piece) this.#forget(id);
		return piece;
	}

	/** There is no current socket any more. */
	reset(): void {
		this.missing.clear();
		this.#surplus.clear();
		this.#ready.clear();
		for (const [channel, topics] of this.#channels) {
			for (const [name, topic] of topics) {
				topic.isCarried = false;
				if (topic.entries.size === 0) this.#forget({ channel, name });
				else this.missing.add({ channel, name });
			}
		}
		for (const entry of this.#entries) entry.missing = topicsOf(entry.listener).length;
	}

	/** Tells listeners that have all of their topics that they are live. */
	announceLive(): void {
		for (const entry of this.#ready) {
			this.#ready.delete(entry);
			if (entry.isLive) continue;
			entry.isLive = true;
			entry.listener.live();
		}
	}

	/** Gives a message to the listeners that are live. */
	deliver(message: SourceMessage): void {
		const topic = this.#find({ channel: message.channel, name: message.topic });
		for (const { isLive, listener } of topic?.entries ?? []) if (isLive) listener.message(message);
	}

	/** Tells live listeners, of these channels or of all, that messages may be missing. */
	announceGap(channels?: ReadonlySet<string>): void {
		for (const { isLive, listener } of [...this.#entries]) {
			if (isLive && (!channels || channels.has(listener.channel))) listener.gap();
		}
	}

	/** Tells waiting listeners that an attempt failed. */
	announceFailure(error: Error): void {
		for (const { isLive, listener } of [...this.#entries]) if (!isLive) listener.failed(error);
	}

	/**
	 * Tells listeners that were live and do not get their messages any more that they are lost.
	 *
	 * @param isServed Whether another socket than the current one still carries a topic.
	 */
	announceLoss(error: Error, isServed: (channel: string, name: string) => boolean): void {
		for (const entry of [...this.#entries]) {
			const { channel, topics } = entry.listener;
			if (!entry.isLive || entry.missing === 0) continue;
			if (topics.every((name) => isServed(channel, name))) continue;
			entry.isLive = false;
			entry.listener.lost(error);
		}
	}

	#remove(entry: Entry): void {
		if (!this.#entries.delete(entry)) return;
		entry.isLive = false;
		this.#ready.delete(entry);
		for (const id of topicsOf(entry.listener)) {
			const topic = this.#find(id);
			if (!topic?.entries.delete(entry) || topic.entries.size > 0) continue;
			this.missing.delete(id);
			if (topic.isCarried) this.#surplus.add(id);
			else this.#forget(id);
		}
	}

	#find({ channel, name }: UpstreamTopic): Topic | undefined {
		return this.#channels.get(channel)?.get(name);
	}

	#enter({ channel, name }: UpstreamTopic): Topic {
		let topics = this.#channels.get(channel);
		if (!topics) this.#channels.set(channel, (topics = new Map()));
		let topic = topics.get(name);
		if (!topic) topics.set(name, (topic = { entries: new Set(), isCarried: false }));
		return topic;
	}

	#forget({ channel, name }: UpstreamTopic): void {
		const topics = this.#channels.get(channel);
		if (topics?.delete(name) && topics.size === 0) this.#channels.delete(channel);
	}
}

function topicsOf({ channel, topics }: SourceListener): UpstreamTopic[] {
	return [...new Set(topics)].map((name) => ({ channel, name }));
}
