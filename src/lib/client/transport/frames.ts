/**
 * Reads what the endpoint writes. The checks are written by hand: a schema library would be larger than the
 * client.
 */
import type { Frame } from '../../protocol/frame.js';
import type { StreamEvent } from './events.js';

/** A string field that the data of each event must have, besides its channel. */
const REQUIRED: Record<string, string> = {
	message: 'topic',
	health: 'status',
	resync: 'reason',
	presence: 'type',
	ask: 'topic'
};

/**
 * @param only The channel of a stream that carries just one; frames may then leave it out.
 * @returns the frame. Events with other names have no data; they are only for `select`.
 * @throws {Error} when the data does not fit the event's name.
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
