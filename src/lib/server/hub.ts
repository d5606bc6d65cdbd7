import type { TopicDefinitions } from '../protocol/channel.js';
import { Feed, type FeedHost, type FeedReader } from './feed.js';
import { afterInput, detached, unref } from './node.js';
import { MemoryReplayStore, type ReplayOptions, type ReplayStore } from './replay.js';
import { TokenClient, type InngestClient } from './token.js';
import { Upstream, type UpstreamState } from './upstream.js';
import { Wheel } from './wheel.js';

/** Replay of one channel, where it differs from the endpoint's. */
export type ChannelReplay = Pick<ReplayOptions, 'maxEvents' | 'maxAgeMs'> | false;

/** What a hub is made with; alike for all endpoints of one Inngest client. */
export interface HubOptions {
	lingerMs: number;
	multiplex: boolean;
	replay: ReplayOptions | ReplayStore | false;
}

/** A channel to be fed. */
export interface FeedSource {
	channel: string;
	topics: readonly string[];
	definitions: TopicDefinitions;
	replay?: ChannelReplay | undefined;
}

interface Running {
	readonly feed: Feed;
	readonly key: string;
	readonly stop: () => void;
	users: number;
	linger: ReturnType<typeof setTimeout> | undefined;
}

/** How a hub is doing. */
export interface HubStats {
	feeds: number;
	upstream: { state: UpstreamState; sockets: number };
	/** Messages that Inngest delivered. */
	messages: number;
	/** Messages refused: invalid, unreadable, or of no known stream. */
	drops: number;
	replay: { events: number; bytes: number };
}

const hubs = new WeakMap<InngestClient, Hub>();

/**
 * The feeds of one Inngest client by channel, and the upstream that serves them all. A feed lives from
 * its first reader until `lingerMs` after its last. Ended when the last endpoint lets it go.
 */
export class Hub implements FeedHost {
	readonly wheel = new Wheel();
	readonly #options: HubOptions;
	readonly #client: TokenClient;
	readonly #store: ReplayStore;
	readonly #feeds = new Map<string, Running>();
	readonly #running = new WeakMap<Feed, Running>();
	readonly #storeKeys = new Set<string>();
	readonly #upstreams = new Set<Upstream>();
	readonly #dirty = new Set<Feed>();
	readonly #definitionIds = new WeakMap<TopicDefinitions, number>();
	#definitionCount = 0;
	#draining = false;
	#users = 0;
	#messages = 0;
	#drops = 0;

	constructor(inngest: InngestClient, options: HubOptions) {
		this.#options = options;
		this.#client = new TokenClient(inngest);
		const { replay } = options;
		this.#store =
			replay && 'append' in replay
				? replay
				: new MemoryReplayStore(replay === false ? { maxEvents: 0 } : replay);
	}

	/** The hub of an Inngest client: the same for all endpoints. Each lets it go with `release`. */
	static of(inngest: InngestClient, options: HubOptions): Hub {
		let hub = hubs.get(inngest);
		if (!hub) hubs.set(inngest, (hub = new Hub(inngest, options)));
		else hub.#warnIfOther(options);
		hub.#users++;
		return hub;
	}

	get stats(): HubStats {
		const upstreams = [...this.#upstreams];
		const replay =
			this.#store instanceof MemoryReplayStore ? this.#store.size : { events: 0, bytes: 0 };
		return {
			feeds: this.#feeds.size,
			upstream: {
				state:
					upstreams.find(({ state }) => state === 'open')?.state ?? upstreams[0]?.state ?? 'idle',
				sockets: upstreams.reduce((sum, { sockets }) => sum + sockets, 0)
			},
			messages: this.#messages,
			drops: this.#drops,
			replay
		};
	}

	/** The feed of a channel. Each use is ended with `leave`. */
	enter(source: FeedSource): Feed {
		const key = this.#key(source);
		let running = this.#feeds.get(key);
		if (!running) {
			running = detached(() => this.#start(key, source));
			this.#feeds.set(key, running);
			this.#running.set(running.feed, running);
		}
		running.users++;
		clearTimeout(running.linger);
		running.linger = undefined;
		return running.feed;
	}

	leave(feed: Feed, reader: FeedReader): void {
		feed.detach(reader);
		const running = this.#running.get(feed)!;
		if (--running.users > 0) return;
		const stop = (): void => this.#stop(running);
		// A feed that never came live has nothing to come back to.
		if (!feed.wasLive || this.#draining || this.#options.lingerMs === 0) return stop();
		running.linger = detached(() => unref(setTimeout(stop, this.#options.lingerMs)));
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

	/** Keeps no feed warm any more: nobody will come back, and a socket would hold the process. */
	drain(): void {
		this.#draining = true;
		for (const running of [...this.#feeds.values()]) if (running.users === 0) this.#stop(running);
	}

	/** Lets the hub go; the last endpoint ends it. */
	release(inngest: InngestClient): void {
		if (--this.#users > 0) return;
		if (hubs.get(inngest) === this) hubs.delete(inngest);
		this.close();
	}

	close(): void {
		for (const running of [...this.#feeds.values()]) this.#stop(running);
		for (const upstream of this.#upstreams) upstream.close();
		this.#upstreams.clear();
	}

	/** Feeds are told apart by channel, topics and the definitions that validate them. */
	#key({ channel, topics, definitions }: FeedSource): string {
		let id = this.#definitionIds.get(definitions);
		if (id === undefined) this.#definitionIds.set(definitions, (id = this.#definitionCount++));
		return JSON.stringify([channel, id, ...topics]);
	}

	#start(key: string, source: FeedSource): Running {
		// Two definitions of one channel have a log each, as their messages may differ.
		const storeKey = this.#storeKeys.has(source.channel) ? key : source.channel;
		this.#storeKeys.add(storeKey);
		const feed = new Feed({
			...source,
			host: this,
			storeKey,
			store: this.#storeFor(source, storeKey)
		});
		const upstream = this.#upstreamForFeed();
		const stopListening = upstream.listen(feed);
		const stop = (): void => {
			stopListening();
			feed.close();
			this.#storeKeys.delete(storeKey);
			if (this.#options.multiplex) return;
			upstream.close();
			this.#upstreams.delete(upstream);
		};
		return { feed, key, stop, users: 0, linger: undefined };
	}

	#stop(running: Running): void {
		clearTimeout(running.linger);
		this.#feeds.delete(running.key);
		this.#dirty.delete(running.feed);
		running.stop();
	}

	#storeFor({ replay }: FeedSource, storeKey: string): ReplayStore {
		if (replay === undefined) return this.#store;
		const limits = replay === false ? { maxEvents: 0 } : replay;
		if (!(this.#store instanceof MemoryReplayStore)) {
			return replay === false ? new MemoryReplayStore(limits) : this.#store;
		}
		this.#store.limit(storeKey, limits);
		return this.#store;
	}

	#upstreamForFeed(): Upstream {
		const [shared] = this.#upstreams;
		if (shared && this.#options.multiplex) return shared;
		const upstream = new Upstream(this.#client, () => this.countDrop());
		this.#upstreams.add(upstream);
		return upstream;
	}

	#flush(): void {
		const dirty = [...this.#dirty];
		this.#dirty.clear();
		for (const feed of dirty) feed.flush();
	}

	#warnIfOther(options: HubOptions): void {
		for (const name of ['lingerMs', 'multiplex', 'replay'] as const) {
			if (options[name] === this.#options[name] || typeof options[name] === 'object') continue;
			console.warn(
				`[sveltekit-inngest] Two endpoints share an Inngest client but differ in \`${name}\` (${String(this.#options[name])} and ${String(options[name])}): the first one's is used.`
			);
		}
	}
}

/** The stats of several hubs as of one. */
export function sumStats(hubs: readonly Hub[]): HubStats {
	const all = hubs.map(({ stats }) => stats);
	const sum = (read: (stats: HubStats) => number): number =>
		all.reduce((total, stats) => total + read(stats), 0);
	return {
		feeds: sum(({ feeds }) => feeds),
		upstream: {
			state: all.some(({ upstream }) => upstream.state === 'open') ? 'open' : 'idle',
			sockets: sum(({ upstream }) => upstream.sockets)
		},
		messages: sum(({ messages }) => messages),
		drops: sum(({ drops }) => drops),
		replay: { events: sum(({ replay }) => replay.events), bytes: sum(({ replay }) => replay.bytes) }
	};
}
