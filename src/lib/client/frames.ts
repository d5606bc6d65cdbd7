/** Reads what the endpoint writes. Checked by hand: a schema library would outweigh the client. */
import type { HealthPayload, ResyncPayload } from '../protocol/health.js';
import type { RealtimeTopicEnvelope } from '../protocol/types.js';
import type { StreamEvent } from './events.js';

/** An event that concerns one channel. */
export type Frame = {
	/** Empty for an event that is not of this wire and came by a stream of several channels. */
	channel: string;
	/** Cursor of the channel after this frame, or empty. */
	cursor: string;
	/** Text of the data as it came. */
	raw: string;
} & (
	| { event: 'message'; data: RealtimeTopicEnvelope }
	| { event: 'health'; data: HealthPayload }
	| { event: 'resync'; data: ResyncPayload }
);

/** What the data of an event must have, besides its channel: a text by this name. */
const REQUIRED: Record<string, string> = { message: 'topic', health: 'status', resync: 'reason' };

/**
 * @param only The channel of a stream that carries just one; frames may then leave it out.
 * @returns the frame. Events of other names have no data; they are there for `select` alone.
 * @throws {Error} when the data is not what the event's name promises.
 */
export function readFrame({ event, id, data: raw }: StreamEvent, only = ''): Frame {
	const required = REQUIRED[event];
	const data: Record<string, unknown> = { channel: only, ...(required && JSON.parse(raw)) };
	const { channel, cursor } = data;
	if (required && (typeof channel !== 'string' || typeof data[required] !== 'string')) {
		throw new Error(`Not a "${event}" event.`);
	}
	return { event, channel, cursor: id || cursor || '', raw, data } as unknown as Frame;
}
