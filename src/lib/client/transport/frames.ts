/** Reads what the endpoint writes. Checked by hand: a schema library would outweigh the client. */
import type { Frame } from '../../protocol/frame.js';
import type { StreamEvent } from './events.js';

/** A text field that the data of each event must have, besides its channel. */
const REQUIRED: Record<string, string> = {
	message: 'topic',
	health: 'status',
	resync: 'reason',
	presence: 'type',
	ask: 'topic'
};

/**
 * @param only The channel of a stream that carries just one; frames may then leave it out.
 * @returns the frame. Events of other names have no data; they exist for `select` alone.
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

/** Finds the topic of a message that cannot be parsed. The endpoint writes these fields first. */
export const TOPIC = /"channel":"(?<channel>[^"\\]*)","topic":"(?<topic>[^"\\]*)"/;
