import type { TopicDefinitions } from '../../protocol/channel.js';
import { RealtimeError } from '../../protocol/errors.js';
import { quoted } from '../../protocol/quote.js';
import type { BusPublishOptions, Published } from '../backend/backend.js';
import type { BreakerState } from '../backend/breaker.js';
import type { GuardedBackend, GuardedStore } from '../backend/guard.js';
import { MemoryReplayStore } from '../backend/memory.js';
import type { ReplayEvent, ReplayLimits } from '../backend/replay.js';
import { detached } from '../runtime/context.js';
import { afterInput, unref } from '../runtime/runtime.js';
import { Wheel } from '../runtime/wheel.js';
import { HubMeters, type DropCause } from '../metrics/hubMeters.js';
import { total, type RealtimeMetric } from '../metrics/metric.js';
import { emitOnlySource } from './emitOnly.js';
import { Feed, type FeedBounds, type FeedHost, type FeedLogEvents } from './feed.js';
import { FollowedLog } from './followedLog.js';
import { ChannelLog, PAGE_EVENTS, readSlice, type Log } from './log.js';
import type { Busyness } from './feedMeter.js';
import type { FeedReader } from './readers.js';
import { SharedLog } from './sharedLog.js';
import type { FeedSpec, RealtimeSource, SourceState } from './source.js';

/** Options of a hub. */
export interface HubOptions {
	/** Separates the logs of this app from those of others in the same backend. */
	app: string;
	/** Where messages come from, unless a feed names another source. The hub ends it. */
	source: RealtimeSource;
	/** Where logs are kept or, if a backend keeps them, where they continue while it is unavailable. */
	store: GuardedStore;
	/** Bounds that the endpoint sets for every log of the backend. */
	limits?: ReplayLimits | false | undefined;
	backend?: GuardedBackend | undefined;
	/** How long, in milliseconds, a feed is kept after its last reader. */
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

/** The state of a hub. All endpoints that share an Inngest client share its hub. */
export interface HubStats {
	/** Channels that are listened to, including those kept warm. */
	feeds: number;
	/** The sources of messages, by name; the default is `inngest`. */
	sources: Record<string, { state: SourceState; sockets: number }>;
	/** Messages that arrived. */
	messages: number;
	/** Messages refused: invalid, unreadable, or of no known stream. */
	drops: number;
	/** What the replay store of this process keeps, if it can tell. */
	replay: { events: number; bytes: number };
	/** The backend that processes share, and the parts it has; absent without one. */
	backend?: { name: string; state: BreakerState; parts: readonly string[] };
}

/** How busy a channel is. */
export interface BusyChannel extends Busyness {
	/** Its name. */
	channel: string;
}

/** Bounds of a backend's log when replay is off: processes still exchange messages through it. */
const EXCHANGE_LIMITS: ReplayLimits = { maxEvents: 100, maxAgeMs: 60_000 };

/** A log that is read just once tells nobody anything. */
const NO_FOLLOWER = { entries() {}, invalid() {} };

/**
 * The feeds of one source by channel. A feed lives from its first reader until `lingerMs` after its
 * last. Owned by its creator, ended by `close`.
 */
export class Hub implements FeedHost {
	readonly wheel = new Wheel();
	readonly #app: string;
	readonly #source: RealtimeSource;
	readonly #store: GuardedStore;
	readonly #limits: ReplayLimits | false | undefined;
	readonly #backend: GuardedBackend | undefined;
	/** Sources that feeds name, with the number of feeds that listen. */
	readonly #otherSources = new Map<RealtimeSource, number>();
	readonly #lingerMs: number;
	readonly #maxWarmFeeds: number;
	readonly #bounds: FeedBounds;
	readonly #feeds = new Map<string, Running>();
	readonly #running = new WeakMap<Feed, Running>();
	/** Feeds without a reader. The one that has been without for longest comes first. */
	readonly #warm = new Set<Running>();
	readonly #logKeys = new Set<string>();
	readonly #dirty = new Set<Feed>();
	readonly #definitionIds = new WeakMap<TopicDefinitions, number>();
	#definitionCount = 0;
	#draining = false;
	readonly meters = new HubMeters();
	#messages = 0;
	#drops = 0;

	constructor(options: HubOptions) {
		const { app, source, store, limits, backend, lingerMs, maxWarmFeeds, bounds = {} } = options;
		this.#app = app;
		this.#source = source;
		this.#store = store;
		this.#limits = limits;
		this.#backend = backend;
		this.#lingerMs = lingerMs;
		this.#maxWarmFeeds = maxWarmFeeds ?? MAX_WARM_FEEDS;
		this.#bounds = bounds;
	}

	get stats(): HubStats {
		const backend = this.#backend;
		return {
			feeds: this.#feeds.size,
			sources: sumSources([this.#source, ...this.#otherSources.keys()]),
			messages: this.#messages,
			drops: this.#drops,
			replay: { events: 0, bytes: 0, ...this.#store.size },
			...(backend && {
				backend: {
					name: backend.name,
					state: backend.breaker.state,
					parts: (['replay', 'bus', 'rateLimit', 'idempotency'] as const).filter(
						(part) => backend[part]
					)
				}
			})
		};
	}

	/** The metrics of this hub and of its sources. */
	readMeters(): RealtimeMetric[] {
		const sources = [this.#source, ...this.#otherSources.keys()];
		return [
			...this.meters.read(),
			total(
				'source_connections_total',
				'Connections that a source has opened: the first one, and each replacement.',
				sources.map(({ name, connections = 0 }) => [{ source: name }, connections])
			),
			total(
				'upstream_tokens_total',
				'Tokens requested of Inngest, by outcome.',
				Object.entries(this.#source.tokens ?? {}).map(([outcome, count]) => [{ outcome }, count])
			)
		];
	}

	/** The channels with the most messages per second, the busiest first. */
	busiest(count: number): BusyChannel[] {
		return [...this.#feeds.values()]
			.map(({ feed: { channel, busyness } }) => ({ channel, ...busyness }))
			.sort(
				(a, b) => b.messagesPerSecond - a.messagesPerSecond || b.bytesPerSecond - a.bytesPerSecond
			)
			.slice(0, count);
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
		// The hub may have been closed before.
		if (!running || --running.users > 0) return;
		const stop = (): void => this.#stop(running);
		// A feed that never came live has nothing to come back to.
		if (!feed.wasLive || this.#draining || this.#lingerMs === 0) return stop();
		running.linger = detached(() => unref(setTimeout(stop, this.#lingerMs)));
		this.#warm.add(running);
		if (this.#warm.size > this.#maxWarmFeeds) this.#stop(this.#warm.values().next().value!);
	}

	/**
	 * Publishes an event to a channel without its source.
	 *
	 * @throws {RealtimeError} `BACKEND` when the backend that carries it is unavailable, `UNSUPPORTED` if it
	 *   cannot be part of a transaction.
	 */
	async emit(spec: FeedSpec, event: ReplayEvent, options: BusPublishOptions): Promise<Published> {
		const bus = this.#backend?.bus;
		if (options.tx !== undefined && !bus?.isTransactional) {
			throw new RealtimeError(
				'UNSUPPORTED',
				`Nothing was emitted to channel ${quoted(spec.channel)}: \`tx\` needs the database of the transaction as \`backend\`, by \`postgresBackend\`.`
			);
		}
		if (bus) {
			const logKey = this.#logName(spec);
			this.#limitShared(logKey, spec);
			return await bus.publish(logKey, event, options);
		}
		const feed = this.enter(spec);
		try {
			return await feed.emit(event);
		} finally {
			this.#leaveOnceLive(feed);
		}
	}

	/**
	 * Resolves with the number of this process's readers once the emitted message has been delivered to them;
	 * `undefined` if nobody reads here.
	 */
	delivered(spec: FeedSpec, cursor: string): Promise<number> | undefined {
		const feed = this.#feeds.get(this.#key(spec))?.feed;
		return feed && feed.readers > 0 ? feed.delivered(cursor) : undefined;
	}

	/** Whether messages emitted here reach other hubs. */
	get isExchanging(): boolean {
		return this.#backend?.bus !== undefined;
	}

	/** Whether logs are kept in the backend, where they can be read without a feed. */
	get isLogShared(): boolean {
		return this.#backend?.replay !== undefined;
	}

	/**
	 * Reads a channel's log.
	 *
	 * @throws {RealtimeError} `BACKEND` when the backend that keeps it is unavailable.
	 */
	async readLog<T>(
		spec: FeedSpec,
		read: (log: Pick<Log, 'since' | 'bounds'>) => Promise<T>
	): Promise<T> {
		const store = this.#backend?.replay;
		if (store) {
			const logKey = this.#logName(spec);
			if (this.#follows(spec)) {
				return read(new FollowedLog(this.#backend!, logKey, { spec, events: NO_FOLLOWER }));
			}
			return read({
				bounds: () => store.bounds(logKey),
				since: async (cursor, limit = PAGE_EVENTS) =>
					readSlice(await store.since(logKey, cursor, limit))
			});
		}
		const feed = this.enter(spec);
		try {
			return await read(feed.log);
		} finally {
			this.leave(feed);
		}
	}

	/**
	 * Erases a channel's log, in all processes.
	 *
	 * @throws {RealtimeError} `UNSUPPORTED` if the store cannot.
	 */
	async clear(spec: FeedSpec): Promise<void> {
		const store = this.#backend?.replay ?? this.#store;
		if (!store.clear) {
			throw new RealtimeError(
				'UNSUPPORTED',
				`Nothing of channel ${quoted(spec.channel)} was erased: its replay store has no \`clear\` method.`
			);
		}
		await store.clear(this.#logName(spec));
		this.#feeds.get(this.#key(spec))?.feed.cleared();
	}

	/** Leaves a feed once it is live, as a reader would: the emitted messages are kept for others. */
	#leaveOnceLive(feed: Feed): void {
		const reader: FeedReader = {
			topics: new Set(),
			report: (failure) => failure.message,
			deliver() {},
			changed: () => this.leave(feed, reader),
			failed: () => this.leave(feed, reader)
		};
		if (feed.status === 'connecting') feed.attach(reader);
		else this.leave(feed);
	}

	flushSoon(feed: Feed): void {
		if (this.#dirty.size === 0) afterInput(() => this.#flush());
		this.#dirty.add(feed);
	}

	countMessage(): void {
		this.#messages++;
	}

	countDrop(cause: DropCause): void {
		this.#drops++;
		this.meters.drops.of(cause).value++;
	}

	/** Stops keeping feeds warm: nobody will come back, and an open socket would keep the process alive. */
	drain(): void {
		this.#draining = true;
		for (const running of [...this.#warm]) this.#stop(running);
	}

	close(): void {
		for (const running of [...this.#feeds.values()]) this.#stop(running);
		this.#source.close();
	}

	/** Feeds differ by channel, registry entry, topics, or the definitions that validate them. */
	#key({ channel, entry, topics, definitions }: FeedSpec): string {
		let id = this.#definitionIds.get(definitions);
		if (id === undefined) this.#definitionIds.set(definitions, (id = this.#definitionCount++));
		return JSON.stringify([channel, entry, id, ...topics]);
	}

	#start(key: string, spec: FeedSpec): Running {
		const logKey = this.#takeLogKey(spec);
		const feed = new Feed(spec, {
			createLog: (events) => this.#createLog(logKey, spec, events),
			host: this,
			bounds: this.#bounds
		});
		const stopListening =
			feed.log instanceof FollowedLog
				? feed.log.follow(feed)
				: this.#listen(spec.source ?? this.#source, feed);
		const stop = (): void => {
			stopListening();
			feed.close();
			this.#logKeys.delete(logKey);
		};
		return { feed, key, stop, users: 0, linger: undefined };
	}

	#createLog(logKey: string, spec: FeedSpec, events: FeedLogEvents): Log {
		const backend = this.#backend;
		if (backend?.replay) {
			this.#limitShared(logKey, spec);
			if (this.#follows(spec)) {
				return new FollowedLog(backend, logKey, { spec, events });
			}
			const log = { key: logKey, isGapless: spec.source === emitOnlySource };
			return new SharedLog(backend, this.#store as MemoryReplayStore, log, events);
		}
		const { replay, latest } = spec;
		const store = replay === false ? new MemoryReplayStore({ maxEvents: 0 }) : this.#store;
		if (replay || latest?.length) {
			store.limit?.(logKey, { ...replay, ...(latest && { latest }) });
		}
		return new ChannelLog(store, logKey, events);
	}

	/** Whether the backend receives the channel's messages instead of this process. */
	#follows({ source }: FeedSpec): boolean {
		return this.#backend?.feed !== undefined && !source;
	}

	#limitShared(logKey: string, { replay }: FeedSpec): void {
		const own = replay ?? this.#limits;
		const limits = own === false ? EXCHANGE_LIMITS : { ...(this.#limits || undefined), ...own };
		this.#backend?.replay?.limit(logKey, {
			...(limits.maxEvents !== undefined && { maxEvents: limits.maxEvents }),
			...(limits.maxAgeMs !== undefined && { maxAgeMs: limits.maxAgeMs })
		});
	}

	#listen(source: RealtimeSource, feed: Feed): () => void {
		const stopListening = source.listen(feed);
		if (source === this.#source) return stopListening;
		this.#otherSources.set(source, (this.#otherSources.get(source) ?? 0) + 1);
		return () => {
			stopListening();
			const left = this.#otherSources.get(source)! - 1;
			if (left > 0) this.#otherSources.set(source, left);
			else this.#otherSources.delete(source);
		};
	}

	/**
	 * Name of a feed's log, the same in every process with the same registry. Two definitions under one key have
	 * separate logs, because their messages may differ.
	 */
	#takeLogKey(spec: FeedSpec): string {
		const name = this.#logName(spec);
		let logKey = name;
		for (let n = 2; this.#logKeys.has(logKey); n++) logKey = `${name}#${n}`;
		this.#logKeys.add(logKey);
		return logKey;
	}

	#logName({ channel, entry, topics }: FeedSpec): string {
		return JSON.stringify([channel, entry, ...topics, { app: this.#app }]);
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

/** Combines the stats of several hubs. */
export function sumStats(hubs: readonly Hub[]): HubStats {
	const all = hubs.map(({ stats }) => stats);
	const sum = (read: (stats: HubStats) => number): number =>
		all.reduce((total, stats) => total + read(stats), 0);
	return {
		feeds: sum(({ feeds }) => feeds),
		sources: sumSources([
			{ name: 'inngest', state: 'idle', sockets: 0 },
			...all.flatMap(({ sources }) =>
				Object.entries(sources).map(([name, source]) => ({ name, ...source }))
			)
		]),
		messages: sum(({ messages }) => messages),
		drops: sum(({ drops }) => drops),
		replay: { events: sum(({ replay }) => replay.events), bytes: sum(({ replay }) => replay.bytes) }
	};
}

/** Combines sources by name. */
function sumSources(
	sources: readonly Pick<RealtimeSource, 'name' | 'state' | 'sockets'>[]
): HubStats['sources'] {
	const sums: HubStats['sources'] = {};
	for (const { name, state, sockets } of sources) {
		const before = sums[name];
		sums[name] = {
			state: before?.state === 'open' ? 'open' : state,
			sockets: sockets + (before?.sockets ?? 0)
		};
	}
	return sums;
}
