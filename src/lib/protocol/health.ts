/** States of a channel's stream. */
export type HealthStatus = 'connecting' | 'connected' | 'degraded';

/** Where on the server a failure happened. */
export type RealtimeServerFailureStage =
	| 'request-validation'
	| 'admission'
	| 'channel-resolution'
	| 'topic-validation'
	| 'authorization'
	| 'reauthorization'
	| 'event-validation'
	| 'event-authorization'
	| 'event'
	| 'stream'
	| 'backend';

/** Data of a `health` event. */
export interface HealthPayload {
	/** Whether messages flow now. */
	ok: boolean;
	status: HealthStatus;
	/** When this was sent, in milliseconds since the epoch. */
	ts: number;
	channel: string;
	/** Position up to which everything has been queued before this event. */
	cursor?: string;
	/** Milliseconds between two health ticks; absent if the server sends none. */
	intervalMs?: number;
	/** What happened, in words for people. */
	detail?: string;
	stage?: RealtimeServerFailureStage;
	/** HTTP status of the same failure before a stream starts. */
	code?: number;
	/** Set when trying the same again cannot help. */
	fatal?: boolean;
}

/** Why messages may be missing. */
export type ResyncReason = 'expired' | 'restart' | 'idle' | 'upstream-gap';

/** Data of a `resync` event: messages of the channel may be missing before it. */
export interface ResyncPayload {
	channel: string;
	/**
	 * `expired`: the replay log no longer reaches back far enough; `restart`: this is a different server
	 * process; `idle`: nobody listened for longer than the server keeps a feed; `upstream-gap`: the server
	 * itself lost its connection to Inngest for a while.
	 */
	reason: ResyncReason;
	/** Milliseconds since the epoch. */
	ts: number;
}
