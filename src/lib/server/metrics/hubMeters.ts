import { Counter } from './counter.js';
import { Histogram } from './histogram.js';
import type { RealtimeMetric } from './metric.js';

/** Why a message was dropped. */
export type DropCause =
	/** Its data does not match the schema of its topic. */
	| 'invalid'
	/** Too many were waiting for an asynchronous schema. */
	| 'overflow'
	/** Inngest sent something that cannot be read. */
	| 'unreadable';

/** The metrics of one hub. */
export class HubMeters {
	readonly messages = new Counter('messages_total', 'Messages handed to readers.', ['channel']);
	readonly bytes = new Counter(
		'message_bytes_total',
		'Bytes of those messages, each counted once.',
		['channel']
	);
	readonly resyncs = new Counter(
		'resyncs_total',
		'Readers that were told that messages may be missing, by reason.',
		['channel', 'reason']
	);
	readonly drops = new Counter('drops_total', 'Messages that were dropped, by cause.', ['cause']);
	readonly lag = new Histogram(
		'message_lag_seconds',
		'Time from publishing a message to its delivery. Clocks of other machines are trusted.',
		['channel']
	);

	read(): RealtimeMetric[] {
		return [this.messages, this.bytes, this.lag, this.resyncs, this.drops].map((meter) =>
			meter.read()
		);
	}
}
