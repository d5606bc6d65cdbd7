import type { TopicDefinitions } from '../../protocol/channel.js';
import type { MessageKind } from '../../protocol/types.js';
import type { ReplayLimits } from '../backend/replay.js';

/** A message as its source delivered it, not validated yet. */
export interface SourceMessage {
	readonly kind: MessageKind;
	readonly channel: string;
	readonly topic: string;
	readonly data: unknown;
	readonly runId: string | undefined;
	readonly fnId: string | undefined;
	readonly envId: string | undefined;
	/** The time as it was written; absent on pieces of a data stream. */
	readonly createdAt: string | undefined;
	readonly streamId: string | undefined;
	/** Id of the event whose handler published it. */
	readonly clientEventId?: string | undefined;
	/**
	 * A fingerprint that all deliveries of one message share, over all sockets and processes. Computed on
	 * demand, because it costs a hash of the data.
	 */
	key(): string;
}

/** A listener of topics of one channel. None of its methods may throw. */
export interface SourceListener {
	readonly channel: string;
	readonly topics: readonly string[];
	/** Messages of all topics arrive from now on. Called again after each `lost`. */
	live(): void;
	/** Messages do not arrive any more. `live` follows when they do again. */
	lost(error: Error): void;
	/** An attempt to bring a listener live failed; more follow. */
	failed(error: Error): void;
	/** Still live, but messages may be missing. */
	gap(): void;
	/** Called only while live. */
	message(message: SourceMessage): void;
}

/** Outcomes of requests for tokens. */
export interface TokenCounts {
	readonly given: number;
	readonly failed: number;
}

/** States of a source's connection. */
export type SourceState = 'idle' | 'connecting' | 'open' | 'waiting' | 'closed';

/**
 * Where messages come from: Inngest, a database, a test. It keeps a connection open only while anyone
 * listens, and restores it by itself. Owned by a hub, which ends it with `close`.
 */
export interface RealtimeSource {
	/** Its name in `stats()`. */
	readonly name: string;
	readonly state: SourceState;
	/** Sockets that are open now. */
	readonly sockets: number;
	/** Connections opened so far: the first one, and each replacement. */
	readonly connections?: number;
	/** Tokens requested so far, if connections need them. */
	readonly tokens?: TokenCounts;
	/** Adds a listener. @returns a function that removes it. */
	listen(listener: SourceListener): () => void;
	close(): void;
}

/** Describes the feed of a channel. */
export interface FeedSpec {
	channel: string;
	/** Key of its registry entry; empty for a channel that is not registered. */
	entry: string;
	/** All topics to listen to, sorted. */
	topics: readonly string[];
	definitions: TopicDefinitions;
	/** Time limit, in milliseconds, of an asynchronous schema. */
	callbackTimeoutMs?: number | undefined;
	/** Where its messages come from. @default the hub's source */
	source?: RealtimeSource | undefined;
	/** Topics of which only the newest message matters. */
	latest?: readonly string[] | undefined;
	/** Bounds of its log, if they differ from the hub's; `false` keeps no messages. */
	replay?: ReplayLimits | false | undefined;
}
