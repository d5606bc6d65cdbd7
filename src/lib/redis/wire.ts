import { formatCursor } from '../protocol/cursor.js';
import type { ReplayedEvent, ReplayEvent } from '../server/backend/replay.js';

/** An event as it is stored in Redis: kind, lengths of topic and payload, and both; `-` means no topic. */
const HEAD = /([^:]*):(-|\d+):(\d+):/y;

/** Text of an event. Its length is known from the text, so several can follow each other. */
export function encodeEvent({ kind, topic, payload }: ReplayEvent): string {
	return `${kind}:${topic === null ? '-' : topic.length}:${payload.length}:${topic ?? ''}${payload}`;
}

/** @throws {TypeError} for a text that is not an event. */
export function decodeEvent(text: string, cursor: string): ReplayedEvent {
	return readEvent(text, 0, cursor).event;
}

function readEvent(
	text: string,
	at: number,
	cursor: string
): { event: ReplayedEvent; end: number } {
	HEAD.lastIndex = at;
	const head = HEAD.exec(text);
	if (!head) throw new TypeError('Redis returned an event in an unknown format.');
	const begin = HEAD.lastIndex;
	const middle = begin + (head[2] === '-' ? 0 : Number(head[2]));
	const end = middle + Number(head[3]);
	const event = {
		cursor,
		kind: head[1] as ReplayEvent['kind'],
		topic: head[2] === '-' ? null : text.slice(begin, middle),
		payload: text.slice(middle, end)
	};
	return { event, end };
}

/**
 * Reads an announcement: `<epoch> ` and, for each event, `<sequence> <event>`.
 *
 * @returns no events if it only says that there is something to read, or has another format.
 */
export function decodeAnnouncement(text: string): ReplayedEvent[] {
	const events: ReplayedEvent[] = [];
	let at = text.indexOf(' ') + 1;
	const epoch = text.slice(0, at - 1);
	try {
		while (at < text.length) {
			const space = text.indexOf(' ', at);
			const cursor = formatCursor(epoch, Number(text.slice(at, space)));
			const { event, end } = readEvent(text, space + 1, cursor);
			events.push(event);
			at = end;
		}
	} catch {
		return [];
	}
	return events;
}

/** Longest lifetime in milliseconds: more than 300 years. */
const MAX_LIFETIME_MS = 1e13;

/** @returns a lifetime that Redis accepts: whole milliseconds, and not infinite. */
export function lifetime(ms: number): string {
	return `${Math.min(Math.ceil(ms), MAX_LIFETIME_MS)}`;
}
