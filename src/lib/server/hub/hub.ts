import type { TopicDefinitions } from '../../protocol/channel.js';
import type { GuardedStore } from '../backend/guard.js';
import { MemoryReplayStore } from '../backend/memory.js';
import { detached } from '../runtime/context.js';
import { afterInput, unref } from '../runtime/runtime.js';
import { Wheel } from '../runtime/wheel.js';
import { Feed, type FeedBounds, type FeedHost } from './feed.js';
import type { FeedReader } from './readers.js';
import type { FeedSpec, RealtimeSource, SourceState } from './source.js';

/** What a hub is made with. */
export interface HubOptions {
	/** Where messages come from. The hub ends it. */
	source: RealtimeSource;
	store: GuardedStore;
	/** Milliseconds that a feed is kept after its last reader. */
	lingerMs: number;
	/** Most feeds kept without a reader; the one whose last reader left first is dropped. @default 1_000 */
	maxWarmFeeds?: number | undefined;
	bounds?: FeedBounds;
}

interface Running {
	readonly feed: Feed;
	readonly key: string;
	readonly stop: () => void;
	users: number;
	linger: ReturnType<typeof setTimeout> | undefined;
}

/** Feeds without a reader. Each costs a subscription at Inngest and a log. */
const MAX_WARM_FEEDS = 1_000;

/** How a hub is doing. All endpoints that share an Inngest client share its hub. */
export interface HubStats {
	/** Channels that are listened to, those kept warm included. */
	feeds: number;
	/** Where messages come from, by name; the default is `inngest`. */
	sources: Record<string, { state: SourceState; sockets: number }>;
	/** Messages that arrived. */
	messages: number;
	/** Messages refused: invalid, unreadable, or of no known stream. */
	drops: number;
	/** What the replay store keeps, where it can tell. */
	replay: { events: number; bytes: number };
}

/**
 * The feeds of one source by channel. A feed lives from its first reader until `lingerMs` after its
 * last. Owned by whoever made it, ended by `close`.
 */
export class Hub implements FeedHost {
	readonly wheel = new Wheel();
	readonly #source: RealtimeSource;
	readonly #store: GuardedStore;
	readonly #lingerMs: number;
	readonly #maxWarmFeeds: number;
	readonly #bounds: FeedBounds;
	readonly #feeds = new Map<string, Running>();
	readonly #running = new WeakMap<Feed, Running>();
	/** Feeds without a reader, the one that lost its last reader first at the front. */
	readonly #warm = new Set<Running>();
	readonly #logKeys = new Set<string>();
	readonly #dirty = new Set<Feed>();
	readonly #definitionIds = new WeakMap<TopicDefinitions, number>();
	#definitionCount = 0;
	#draining = false;
	#messages = 0;
	#drops = 0;

	constructor({ source, store, lingerMs, maxWarmFeeds, bounds = {} }: HubOptions) {
		this.#source = source;
		this.#store = store;
		this.#lingerMs = lingerMs;
		this.#maxWarmFeeds = maxWarmFeeds ?? MAX_WARM_FEEDS;
		this.#bounds = bounds;
	}

	get stats(): HubStats {
		const { name, state, sockets } = this.#source;
		return {
			feeds: this.#feeds.size,
			sources: { [name]: { state, sockets } },
			messages: this.#messages,
			drops: this.#drops,
			replay: { events: 0, bytes: 0, ...this.#store.size }
		};
	}

	/** The feed of a channel. Each use is ended with `leave`. */
	enter(spec: FeedSpec): Feed {
		const key = this.#key(spec);
		let running = this.#feeds.get(key);
		if (!running) {
			running = detached(() => this.#start(key, spec));
			this.#feeds.set(key, running);
			this.#running.set(running.feed, running);
		}
		running.users++;
		this.#warm.delete(running);
		clearTimeout(running.linger);
		running.linger = undefined;
		return running.feed;
	}

	leave(feed: Feed, reader?: FeedReader): void {
		if (reader) feed.detach(reader);
		const running = this.#running.get(feed);
		// Its hub may have been closed before.
		if (!running || --running.users > 0) return;
		const stop = (): void => this.#stop(running);
		// A feed that never came live has nothing to come back to.
		if (!feed.wasLive || this.#draining || this.#lingerMs === 0) return stop();
		running.linger = detached(() => unref(setTimeout(stop, this.#lingerMs)));
		this.#warm.add(running);
		if (this.#warm.size > this.#maxWarmFeeds) this.#stop(this.#warm.values().next().value!);
	}

	flushSoon(feed: Feed): void {
		if (this.#dirty.size === 0) afterInput(() => this.#flush());
		this.#dirty.add(feed);
	}

	countMessage(): void {
		this.#messages++;
	}

	countDrop(): void {
		this.#drops++;
	}

	/** Stops keeping feeds warm: nobody will come back, and a socket would hold the process. */
	drain(): void {
		this.#draining = true;
		for (const running of [...this.#warm]) this.#stop(running);
	}

	close(): void {
		for (const running of [...this.#feeds.values()]) this.#stop(running);
		this.#source.close();
	}

	/** Two feeds differ by channel, registry entry, topics, or the definitions that validate them. */
	#key({ channel, entry, topics, definitions }: FeedSpec): string {
		let id = this.#definitionIds.get(definitions);
		if (id === undefined) this.#definitionIds.set(definitions, (id = this.#definitionCount++));
		return JSON.stringify([channel, entry, id, ...topics]);
	}

	#start(key: string, spec: FeedSpec): Running {
		const logKey = this.#takeLogKey(spec);
		const { replay } = spec;
		const store = replay === false ? new MemoryReplayStore({ maxEvents: 0 }) : this.#store;
		if (replay) store.limit?.(logKey, replay);
		const feed = new Feed(spec, { store, logKey, host: this, bounds: this.#bounds });
		const stopListening = this.#source.listen(feed);
		const stop = (): void => {
			stopListening();
			feed.close();
			this.#logKeys.delete(logKey);
		};
		return { feed, key, stop, users: 0, linger: undefined };
	}

	/**
	 * Name of a feed's log, the same in every process that serves the same registry. Two definitions
	 * under one key have a log each, as their messages may differ.
	 */
	#takeLogKey({ channel, entry, topics }: FeedSpec): string {
		const name = JSON.stringify([channel, entry, ...topics]);
		let logKey = name;
		for (let n = 2; this.#logKeys.has(logKey); n++) logKey = `${name}#${n}`;
		this.#logKeys.add(logKey);
		return logKey;
	}

	#stop(running: Running): void {
		clearTimeout(running.linger);
		this.#warm.delete(running);
		this.#running.delete(running.feed);
		this.#feeds.delete(running.key);
		this.#dirty.delete(running.feed);
		running.stop();
	}

	#flush(): void {
		const dirty = [...this.#dirty];
		this.#dirty.clear();
		for (const feed of dirty) feed.flush();
	}
}

/** The stats of several hubs as of one. */
export function sumStats(hubs: readonly Hub[]): HubStats {
	const all = hubs.map(({ stats }) => stats);
	const sum = (read: (stats: HubStats) => number): number =>
		all.reduce((total, stats) => total + read(stats), 0);
	return {
		feeds: sum(({ feeds }) => feeds),
		sources: sumSources(all),
		messages: sum(({ messages }) => messages),
		drops: sum(({ drops }) => drops),
		replay: { events: sum(({ replay }) => replay.events), bytes: sum(({ replay }) => replay.bytes) }
	};
}

function sumSources(all: readonly HubStats[]): HubStats['sources'] {
	const sums: HubStats['sources'] = { inngest: { state: 'idle', sockets: 0 } };
	for (const [name, { state, sockets }] of all.flatMap(({ sources }) => Object.entries(sources))) {
		const before = sums[name];
		sums[name] = {
			state: before?.state === 'open' ? 'open' : state,
			sockets: sockets + (before?.sockets ?? 0)
		};
	}
	return sums;
}
