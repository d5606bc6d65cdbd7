/** Names of the SSE events. */
export const EVENT = {
	health: 'health',
	message: 'message',
	resync: 'resync',
	presence: 'presence',
	ask: 'ask'
} as const;

/** Default time between two health ticks, in milliseconds. */
export const DEFAULT_INTERVAL_MS = 15_000;

/** Milliseconds of silence after which a comment is written if health ticks are off. */
export const KEEPALIVE_MS = 30_000;

/** Most bytes of a request body. */
export const MAX_BODY_BYTES = 64 * 1024;

/** Most subscriptions of one request. */
export const MAX_SUBSCRIPTIONS = 100;

/** Topic of run lifecycle messages. */
export const RUN_TOPIC = '$run';

/** Default URL of the realtime endpoint. */
export const DEFAULT_ENDPOINT = '/api/events';

/** The longest delay of a timer, in milliseconds; with a longer one it fires at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;
