/** Reads what the endpoint writes. Checked by hand: a schema library would outweigh the client. */
import type { EventSourceMessage } from 'eventsource-parser';
import { EVENT } from '../protocol/constants.js';
import type { HealthPayload, ResyncPayload } from '../protocol/health.js';
import type { RealtimeTopicEnvelope } from '../protocol/types.js';

/** An event of the wire that concerns one channel. */
export type Frame = {
	channel: string;
	/** Cursor of the channel after this frame. */
	cursor: string | undefined;
	/** Text of the data as it came. */
	raw: string;
} & (
	| { event: 'message'; data: RealtimeTopicEnvelope }
	| { event: 'health'; data: HealthPayload }
	| { event: 'resync'; data: ResyncPayload }
	/** Something else that an endpoint of another make sent; read through `select` alone. */
	| { event: null; name: string }
);

const STATUSES = ['connecting', 'connected', 'degraded'];

/**
 * @param only The channel of a stream that carries just one; frames may then leave it out.
 * @returns the frame, or `null` for an event that is not of this wire and names no channel.
 * @throws {Error} when the data is not what the event's name promises.
 */
export function readFrame(message: EventSourceMessage, only?: string): Frame | null {
	const { event: name = EVENT.message, id, data: raw } = message;
	if (name !== EVENT.message && name !== EVENT.health && name !== EVENT.resync) {
		return only === undefined ? null : { event: null, name, channel: only, cursor: undefined, raw };
	}
	const data: unknown = JSON.parse(raw);
	const fields = isObject(data) ? data : {};
	const channel = fields.channel ?? only;
	const valid =
		typeof channel === 'string' &&
		(name === EVENT.message
			? typeof fields.topic === 'string'
			: name === EVENT.resync
				? typeof fields.reason === 'string'
				: typeof fields.ok === 'boolean' && STATUSES.includes(fields.status as string));
	if (!valid) throw new Error(`The data of a "${name}" event lacks what it must have.`);
	const cursor = id || (name === EVENT.health ? fields.cursor : undefined);
	return {
		event: name,
		channel,
		cursor: typeof cursor === 'string' ? cursor : undefined,
		raw,
		// An endpoint of another make may leave the kind out.
		data: name === EVENT.message ? { kind: 'data', ...fields, channel } : { ...fields, channel }
	} as Frame;
}

function isObject(value: unknown): value is Record<string, unknown> {
	return typeof value === 'object' && value !== null;
}
