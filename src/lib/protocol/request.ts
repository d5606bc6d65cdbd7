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

/** Body of a POST: one channel, or several over one stream. */
export type RealtimeRequest = SubscriptionRequest | { subscriptions: SubscriptionRequest[] };
