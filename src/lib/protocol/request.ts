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
	/** Cursor of the last message that arrived; later ones are replayed. */
	lastEventId?: string;
	/** Cursor to start from while there is no `lastEventId` yet. Excludes `history`. */
	since?: string;
	/** Number of recent messages to send first while there is no `lastEventId` yet. Excludes `since`. */
	history?: number;
}

/** A POST with `read` asks for messages that are still in the log of a channel. */
export interface HistoryRequest {
	channel: string;
	/** Defaults to all topics of the channel. */
	topics?: string[];
	params?: RealtimeRequestParams;
	/** A cursor, or a date in ISO 8601: only later messages. */
	since?: string;
	/** A cursor: only earlier messages. */
	before?: string;
	/** Most messages: the first ones with `since`, otherwise the newest. @default 100 */
	limit?: number;
}

/** Body of a POST: one channel, or several over one stream. */
export type RealtimeRequest = SubscriptionRequest | { subscriptions: SubscriptionRequest[] };
