import type { HealthPayload, ResyncPayload } from './health.js';
import type { AskPayload, PresencePayload } from './presence.js';
import type { RealtimeTopicEnvelope } from './types.js';

/** An event that concerns one channel. */
export type Frame = {
	/** Empty for an event of another protocol on a stream of several channels. */
	channel: string;
	/** Cursor of the channel after this frame, or empty. */
	cursor: string;
	/** Text of the data as it arrived. */
	raw: string;
} & (
	| { event: 'message'; data: RealtimeTopicEnvelope }
	| { event: 'health'; data: HealthPayload }
	| { event: 'resync'; data: ResyncPayload }
	| { event: 'presence'; data: PresencePayload }
	| { event: 'ask'; data: AskPayload }
);

const encoder = new TextEncoder();

/**
 * One SSE event as bytes.
 *
 * @param event Name of the event; must not contain a line break.
 * @param data JSON text, which cannot contain a line break.
 * @param id Cursor; must not contain a line break.
 */
export function encodeEvent(event: string, data: string, id?: string): Uint8Array {
	return encoder.encode(
		id === undefined
			? `event: ${event}\ndata: ${data}\n\n`
			: `id: ${id}\nevent: ${event}\ndata: ${data}\n\n`
	);
}

/** A comment, which proxies and sockets see and readers do not. */
export function encodeComment(text: string): Uint8Array {
	return encoder.encode(`: ${text}\n\n`);
}

/** How long, in milliseconds, an `EventSource` waits before it reconnects. */
export function encodeRetry(milliseconds: number): Uint8Array {
	return encoder.encode(`retry: ${milliseconds}\n\n`);
}
