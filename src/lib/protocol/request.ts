/** Values that a request parameter may have. */
export type RealtimeRequestParam = string | number | boolean | null;

/** Parameters that a page sends along with a subscription. */
export type RealtimeRequestParams = Record<string, RealtimeRequestParam>;

/** One channel of a request. */
export interface SubscriptionRequest {
	channel: string;
	/** Defaults to all topics of the channel. */
	topics?: string[];
	params?: RealtimeRequestParams;
	/** Cursor of the last message that arrived; what followed is replayed. */
	lastEventId?: string;
	/** Cursor to start from while there is no `lastEventId` yet. Excludes `history`. */
	since?: string;
	/** Number of recent messages to send first while there is no `lastEventId` yet. Excludes `since`. */
	history?: number;
}

/** What a POST with `read` asks for: messages that are still in the log of a channel. */
export interface HistoryRequest {
	channel: string;
	/** Defaults to all topics of the channel. */
	topics?: string[];
	params?: RealtimeRequestParams;
	/** A cursor, or a moment in ISO 8601: only what followed. */
	since?: string;
	/** A cursor: only what came before. */
	before?: string;
	/** Most messages: with `since` the first, else the newest. @default 100 */
	limit?: number;
}

/** Body of a POST: one channel, or several over one stream. */
export type RealtimeRequest = SubscriptionRequest | { subscriptions: SubscriptionRequest[] };
