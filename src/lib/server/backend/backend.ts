import type { IdempotencyStore } from './idempotency.js';
import type { PresenceStore } from './presence.js';
import type { RateLimitStore } from './rateLimit.js';
import type { ReplayedEvent, ReplayEvent, ReplayStore } from './replay.js';
import type { StreamDirectory } from './streams.js';

/**
 * What several processes share. Each part is optional; what a backend lacks is kept in the memory of
 * each process. A backend is made once per process and used by all endpoints that name it.
 *
 * Every call has a time limit, and all parts of a backend share one circuit breaker, so that a backend
 * only has to answer or fail: see docs/guides/deployment.md for what happens while it is away.
 */
export interface RealtimeBackend {
	/** What it is called in `stats()` and in error texts. */
	readonly name: string;
	/** How long, in milliseconds, one call may take. @default 2_000 */
	readonly timeoutMs?: number;
	/** Recent messages of each channel. */
	readonly replay?: ReplayStore;
	/** Messages published without Inngest. Needs `replay`: what is announced is the log's. */
	readonly bus?: BackendBus;
	/** The messages of channels, where the backend receives them from Inngest itself. Needs `replay`. */
	readonly feed?: BackendFeed;
	/** Who is in which channel. */
	readonly presence?: PresenceStore;
	/** The open streams, where each has to be asked by itself. */
	readonly streams?: StreamDirectory;
	/** How often whom may do what. */
	readonly rateLimit?: RateLimitStore;
	/** What ran already. */
	readonly idempotency?: IdempotencyStore;
	/**
	 * Whether the backend is reached by what a request's `event.platform` holds, so that it is of no use
	 * to a hub that outlives requests. @default false
	 */
	readonly needsPlatform?: boolean;
	/** Learns a request's `event.platform`. @returns whether the backend can be reached. */
	use?(platform: unknown): boolean;
	/** Ends the connections that the backend made itself. */
	close?(): void | PromiseLike<void>;
}

/**
 * What the payload of a message begins with that a backend received itself: nobody has validated its data
 * yet. The rest is that of any other payload.
 */
export const RAW_PAYLOAD = '{"raw":true,';

/**
 * A backend that receives the messages of channels, and appends them to their logs as they came, each
 * with a payload that begins with {@link RAW_PAYLOAD}.
 */
export interface BackendFeed {
	/**
	 * Follows a channel. Holds a connection while somebody follows, restores it by itself, and never throws.
	 *
	 * @param log Name of the channel's log.
	 * @returns a function that ends it.
	 */
	follow(log: string, listener: BackendFollower): () => void;
}

/** Somebody who follows a channel. None of its methods may throw. */
export interface BackendFollower {
	/** Messages arrive from now on, and the log ends at `cursor`; called again after each `lost`. */
	live(cursor: string): void;
	/** Messages do not arrive any more; `live` follows when they do again. */
	lost(error: Error): void;
	/** An attempt to bring the channel live failed; more follow. */
	failed(error: Error): void;
	/** Events were appended, in the log's order. */
	events(events: readonly ReplayedEvent[]): void;
}

/** What came of publishing an event. */
export interface Published {
	/** Its position in the log; of a duplicate, that of the first. */
	cursor: string;
	/** Whether the log has an event of this key already, so that nothing was published. */
	isDuplicate: boolean;
}

/** How an event is published. */
export interface BusPublishOptions {
	/** How long, in milliseconds, the key is remembered at least; otherwise as long as the log. */
	keyTtlMs?: number;
	/** A transaction of the app's own database client; only where the bus `isTransactional`. */
	tx?: unknown;
}

/** Carries events between processes: what one appends to a log, all that listen to it hear of. */
export interface BackendBus {
	/** Whether `publish` can be part of a transaction of the app, its `tx`. @default false */
	readonly isTransactional?: boolean;
	/**
	 * Numbers an event, stores it in the backend's log, remembers its key, and announces it, in one step.
	 * Events that are appended through `ReplayStore.append` are announced as well.
	 */
	publish(log: string, event: ReplayEvent, options?: BusPublishOptions): PromiseLike<Published>;
	/**
	 * Hears of what any process appends to a log, this one included. Holds a connection while somebody
	 * listens, restores it by itself, and never throws.
	 *
	 * @returns a function that removes the listener.
	 */
	listen(log: string, listener: BusListener): () => void;
	/**
	 * Asks all other processes that listen to a log whether one of them is receiving its messages right
	 * now (`BusListener.isLive`). A feed that starts asks, because then nothing is missing from the log.
	 * Without it, every start of a feed counts as a gap.
	 *
	 * @returns whether one of them answered yes within `timeoutMs`.
	 */
	probe?(log: string, timeoutMs: number): PromiseLike<boolean>;
}

/** Somebody who listens to a log. None of its methods may throw. */
export interface BusListener {
	/** Whether this process is receiving the log's messages from their source right now. @default no */
	isLive?(): boolean;
	/**
	 * Resolves when what this process received before is in the log. A bus waits for it before it answers
	 * another process that `isLive`.
	 */
	settled?(): Promise<void> | undefined;
	/**
	 * Events were appended. They come in the log's order, but some may be missing or come twice. An empty
	 * list means that the log has to be read.
	 */
	events(events: readonly ReplayedEvent[]): void;
	/**
	 * Announcements arrive from now on. Called again after each `lost`, and for each event that is too
	 * large to be announced: what the listener has not seen is in the log.
	 */
	live(): void;
	/** Announcements do not arrive any more; `live` follows when they do again. */
	lost(error: Error): void;
}
