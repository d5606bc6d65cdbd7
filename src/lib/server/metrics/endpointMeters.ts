import { Counter } from './counter.js';
import { Histogram, LONG_SECONDS } from './histogram.js';
import { total, type RealtimeMetric } from './metric.js';

/** Why a stream ended. */
export type StreamEnd =
	/** Its reader left. */
	| 'left'
	/** Its last channel ended. */
	| 'ended'
	/** Its reader did not keep up. */
	| 'slow'
	/** It reached `limits.maxLifetimeMs`. */
	| 'lifetime'
	/** The server ended it: it stops, drains, or was closed. */
	| 'server'
	/** Its page showed no sign of life. */
	| 'silent';

/** The outcome of a call to `authorize`. */
export type AuthorizationOutcome = 'allowed' | 'denied' | 'failed';

/** What one endpoint counts. Per message and reader, there are only two additions. */
export class EndpointMeters {
	/** Batches of messages given to readers. */
	deliveries = 0;
	/** Chunks written to readers: messages, health and comments. */
	chunks = 0;
	/** Bytes written to readers. */
	bytes = 0;
	/** Readers closed because they did not keep up. */
	slowReaders = 0;
	/** Streams that have started. */
	opened = 0;
	readonly closed = new Counter('streams_closed_total', 'Streams that ended, by reason.', [
		'reason'
	]);
	readonly lifetime = new Histogram(
		'stream_duration_seconds',
		'How long streams lived.',
		[],
		LONG_SECONDS
	);
	readonly replays = new Counter('replays_total', 'Readers that resumed from a cursor.', [
		'channel'
	]);
	readonly authorizations = new Counter(
		'authorizations_total',
		'Calls to `authorize`, by outcome.',
		['channel', 'outcome']
	);
	readonly authorizing = new Histogram(
		'authorization_duration_seconds',
		'How long `authorize` took.',
		['channel']
	);
	readonly events = new Counter('client_events_total', 'Events that pages sent, by outcome.', [
		'event',
		'outcome'
	]);
	readonly handling = new Histogram(
		'client_event_duration_seconds',
		'Time from the request of an event to its answer.',
		['event']
	);
	readonly rateLimited = new Counter(
		'rate_limited_total',
		'Requests refused because their sender did too much, by kind.',
		['kind']
	);
	readonly failures = new Counter('failures_total', 'Failures, by stage and status.', [
		'stage',
		'status'
	]);

	read(): RealtimeMetric[] {
		return [
			total('streams_opened_total', 'Streams that have started.', this.opened),
			this.closed.read(),
			this.lifetime.read(),
			total('deliveries_total', 'Batches of messages given to readers.', this.deliveries),
			total('delivered_bytes_total', 'Bytes written to readers.', this.bytes),
			total('slow_readers_total', 'Readers closed because they did not keep up.', this.slowReaders),
			this.replays.read(),
			this.authorizations.read(),
			this.authorizing.read(),
			this.events.read(),
			this.handling.read(),
			this.rateLimited.read(),
			this.failures.read()
		];
	}
}
