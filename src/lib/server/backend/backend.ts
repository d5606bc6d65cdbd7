import type { IdempotencyStore } from './idempotency.js';
import type { PresenceStore } from './presence.js';
import type { RateLimitStore } from './rateLimit.js';
import type { ReplayedEvent, ReplayEvent, ReplayStore } from './replay.js';
import type { StreamDirectory } from './streams.js';

/**
 * What several processes share. Each part is optional; what a backend lacks is kept in the memory of each
 * process. Create a backend once per process; all endpoints that name it use it.
 *
 * Every call has a time limit, and all parts of a backend share one circuit breaker, so a backend only has to
 * answer or fail. See docs/guides/deployment.md for what happens while it is unavailable.
 */
export interface RealtimeBackend {
	/** Its name in `stats()` and in error texts. */
	readonly name: string;
	/** Time limit of one call, in milliseconds. @default 2_000 */
	readonly timeoutMs?: number;
	/** Recent messages of each channel. */
	readonly replay?: ReplayStore;
	/** Messages published without Inngest. Needs `replay`: the bus announces what is in the log. */
	readonly bus?: BackendBus;
	/** The messages of channels, if the backend itself receives them from Inngest. Needs `replay`. */
	readonly feed?: BackendFeed;
	/** Who is in which channel. */
	readonly presence?: PresenceStore;
	/** The open streams, if each has to be asked separately. */
	readonly streams?: StreamDirectory;
	/** How often each sender may do what. */
	readonly rateLimit?: RateLimitStore;
	/** Remembers what has run already. */
	readonly idempotency?: IdempotencyStore;
	/**
	 * Whether the backend is reached through a request's `event.platform`, so that a hub that outlives requests
	 * cannot use it. @default false
	 */
	readonly needsPlatform?: boolean;
	/** Takes over a request's `event.platform`. @returns whether the backend can be reached. */
	use?(platform: unknown): boolean;
	/** Ends the connections that the backend opened itself. */
	close?(): void | PromiseLike<void>;
}

/**
 * Prefix of the payload of a message that a backend received itself: its data has not been validated yet. The
 * rest is like any other payload.
 */
export const RAW_PAYLOAD = '{"raw":true,';

/**
 * A backend that receives the messages of channels and appends them to their logs unchanged, each with a
 * payload that begins with {@link RAW_PAYLOAD}.
 */
export interface BackendFeed {
	/**
	 * Follows a channel. Keeps a connection open while anyone follows, restores it by itself, and never throws.
	 *
	 * @param log Name of the channel's log.
	 * @returns a function that ends it.
	 */
	follow(log: string, listener: BackendFollower): () => void;
}

/** A follower of a channel. None of its methods may throw. */
export interface BackendFollower {
	/** Messages arrive from now on, and the log ends at `cursor`. Called again after each `lost`. */
	live(cursor: string): void;
	/** Messages do not arrive any more. `live` follows when they do again. */
	lost(error: Error): void;
	/** An attempt to bring the channel live failed; more follow. */
	failed(error: Error): void;
	/** Events were appended. They come in the log's order. */
	events(events: readonly ReplayedEvent[]): void;
}

/** The result of publishing an event. */
export interface Published {
	/** Its position in the log. A duplicate has the position of the first. */
	cursor: string;
	/** Whether the log has an event of this key already, so that nothing was published. */
	isDuplicate: boolean;
}

/** Options of `publish`. */
export interface BusPublishOptions {
	/** Minimum time, in milliseconds, that the key is remembered. @default as long as the log */
	keyTtlMs?: number;
	/** A transaction of the app's database client; only if the bus `isTransactional`. */
	tx?: unknown;
}

/** Carries events between processes: when one appends to a log, all that listen to the log learn of it. */
export interface BackendBus {
	/** Whether `publish` can be part of a transaction of the app, given as `tx`. @default false */
	readonly isTransactional?: boolean;
	/**
	 * Numbers an event, stores it in the backend's log, remembers its key, and announces it, in one step.
	 * Events that are appended through `ReplayStore.append` are announced as well.
	 */
	publish(log: string, event: ReplayEvent, options?: BusPublishOptions): PromiseLike<Published>;
	/**
	 * Listens to what any process appends to a log, including this one. Keeps a connection open while anyone
	 * listens, restores it by itself, and never throws.
	 *
	 * @returns a function that removes the listener.
	 */
	listen(log: string, listener: BusListener): () => void;
	/**
	 * Asks all other processes that listen to a log whether one of them is receiving its messages right
	 * now (`BusListener.isLive`). A feed asks this when it starts, because then nothing is missing from the log.
	 * Without it, every start of a feed counts as a gap.
	 *
	 * @returns whether one of them answered yes within `timeoutMs`.
	 */
	probe?(log: string, timeoutMs: number): PromiseLike<boolean>;
}

/** A listener of a log. None of its methods may throw. */
export interface BusListener {
	/** Whether this process is receiving the log's messages from their source right now. @default no */
	isLive?(): boolean;
	/**
	 * Resolves when everything this process has received so far is in the log. A bus waits for it before it
	 * answers another process that `isLive`.
	 */
	settled?(): Promise<void> | undefined;
	/**
	 * Events were appended. They come in the log's order, but some may be missing or come twice. An empty
	 * list means that the log has to be read.
	 */
	events(events: readonly ReplayedEvent[]): void;
	/**
	 * Announcements arrive from now on. Called again after each `lost`, and for each event that is too large to
	 * be announced: the listener then reads the log.
	 */
	live(): void;
	/** Announcements do not arrive any more. `live` follows when they do again. */
	lost(error: Error): void;
}
