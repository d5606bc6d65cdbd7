import { ulid } from './ids.js';
import type { Trace } from './trace.js';

/** Most bytes of a request with events. */
export const MAX_REQUEST_BYTES = 64 * 1024 * 1024;

const MAX_EVENT_BYTES = 3 * 1024 * 1024;
const MAX_EVENTS = 5_000;

const EARLIEST_MS = Date.UTC(1980, 0, 1);
const LATEST_MS = Date.UTC(2100, 0, 1);

/** An event as apps send it. */
export interface DevEventInput {
	name: string;
	data?: Record<string, unknown> | null;
	/** Makes the event idempotent: another event with this id does not start the same functions again. */
	id?: string;
	/** Milliseconds since the epoch. @default now */
	ts?: number;
	user?: Record<string, unknown> | null;
	v?: string;
}

/** An event that was accepted. */
export interface DevEvent {
	/** The sender's id; without one, `internalId`. */
	id: string;
	/** The id that the engine gave to the event. */
	internalId: string;
	name: string;
	/** `null` if the sender left it out. */
	data: Record<string, unknown> | null;
	ts: number;
	user: Record<string, unknown>;
	v?: string;
	/** The trace that its sender is part of. */
	trace?: Trace;
}

/** Something that was sent is not an event. */
export class EventError extends Error {}

/** The events in the body of a request. They are not checked yet; see `acceptEvent`. */
export function parseEvents(body: Buffer): unknown[] {
	if (body.toString('utf8').trim() === '') return [];
	let value: unknown;
	try {
		value = JSON.parse(body.toString('utf8'));
	} catch (cause) {
		throw new EventError(`The body is not JSON: ${(cause as Error).message}`);
	}
	if (typeof value !== 'object' || value === null) {
		throw new EventError('Request body must contain an event object or an array of event objects');
	}
	const events: unknown[] = Array.isArray(value) ? value : [value];
	if (events.length > MAX_EVENTS) {
		throw new EventError(`Too many events: ${events.length}, at most ${MAX_EVENTS} in one request`);
	}
	if (body.length <= MAX_EVENT_BYTES) return events;
	for (const event of events) {
		const size = Buffer.byteLength(JSON.stringify(event));
		if (size <= MAX_EVENT_BYTES) continue;
		throw new EventError(
			`Event is over the max size: Max ${MAX_EVENT_BYTES} bytes / Size ${size} bytes`
		);
	}
	return events;
}

/**
 * Checks an event and fills in missing fields.
 *
 * @param seed Value of the header that gives a repeated request the same ids.
 * @param index Position of the event in its request, from 1.
 */
export function acceptEvent(value: unknown, seed?: string, index = 1): DevEvent {
	const { name, data, id, ts, user, v } = readFields(value);
	if (name.toLowerCase().startsWith('inngest/')) {
		throw new EventError(`event name is reserved for internal use: ${name}`);
	}
	if (name === '') throw new EventError('event name is empty');
	if (ts !== 0 && ts < EARLIEST_MS) throw new EventError('timestamp is before Jan 1, 1980');
	if (ts !== 0 && ts > LATEST_MS) throw new EventError('timestamp is after Jan 1, 2100');
	const own = data && { ...data };
	// Senders must not set the engine's own fields.
	delete own?._inngest;
	return createEvent({ name, data: own, user, id, ts, v }, seededId(seed, index));
}

/** Completes an event that comes from the engine itself, or that has been checked. */
export function createEvent(input: DevEventInput, internalId: string = ulid()): DevEvent {
	return {
		id: input.id || internalId,
		internalId,
		name: input.name,
		data: input.data ?? null,
		ts: input.ts || Date.now(),
		user: input.user ?? {},
		...(input.v ? { v: input.v } : {})
	};
}

function readFields(value: unknown): Required<DevEventInput> {
	if (!isObject(value)) throw new EventError(`An event must be an object, not ${describe(value)}`);
	const text = (field: 'name' | 'id' | 'v'): string => {
		const given = value[field] ?? '';
		if (typeof given === 'string') return given;
		throw new EventError(`event.${field} must be a string, not ${describe(given)}`);
	};
	const object = (field: 'data' | 'user'): Record<string, unknown> | null => {
		const given = value[field] ?? null;
		if (given === null || isObject(given)) return given;
		throw new EventError(`event.${field} must be an object, not ${describe(given)}`);
	};
	const ts = value.ts ?? 0;
	if (!Number.isSafeInteger(ts)) {
		throw new EventError(`event.ts must be a whole number of milliseconds, not ${describe(ts)}`);
	}
	return {
		name: text('name'),
		id: text('id'),
		v: text('v'),
		data: object('data'),
		user: object('user'),
		ts: ts as number
	};
}

/** The id that a seed gives to the event at `index`; each event of a request gets its own. */
function seededId(seed: string | undefined, index: number): string {
	const [millis = '', entropy = '', ...rest] = seed?.split(',') ?? [];
	const bytes = Buffer.from(entropy, 'base64');
	const timeMs = Number(millis);
	if (rest.length > 0 || bytes.length !== 10 || !Number.isSafeInteger(timeMs) || timeMs <= 0) {
		return ulid();
	}
	bytes.writeUInt32BE((bytes.readUInt32BE(6) + index) >>> 0, 6);
	return ulid(timeMs, bytes);
}

function isObject(value: unknown): value is Record<string, unknown> {
	return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function describe(value: unknown): string {
	return Array.isArray(value) ? 'an array' : value === null ? 'null' : `a ${typeof value}`;
}
