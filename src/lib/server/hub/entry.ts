import { EVENT } from '../../protocol/constants.js';
import { compareCursors } from '../../protocol/cursor.js';
import { encodeEvent } from '../../protocol/frame.js';
import type { RealtimeTopicEnvelope } from '../../protocol/types.js';
import type { ReplayedEvent, ReplayEvent } from '../backend/replay.js';

/** An event with its position. What is derived from it is made once, and only where it is needed. */
export class LogEntry {
	/** Empty where it is in no log: sent to some readers alone. */
	readonly cursor: string;
	readonly kind: ReplayEvent['kind'];
	/** `null` for a `resync`, which goes to the readers of every topic. */
	readonly topic: string | null;
	readonly #payload: string;
	#envelope: RealtimeTopicEnvelope | undefined;
	#frame: Uint8Array | undefined;

	constructor({ cursor, kind, topic, payload }: ReplayedEvent) {
		this.cursor = cursor;
		this.kind = kind ?? (topic === null ? 'resync' : 'message');
		this.topic = topic;
		this.#payload = payload;
	}

	get frame(): Uint8Array {
		return (this.#frame ??= encodeEvent(EVENT[this.kind], this.#payload, this.cursor || undefined));
	}

	/** JSON of what is sent. */
	get payload(): string {
		return this.#payload;
	}

	/** The message as its readers see it, after JSON; not to be read from a `resync`. */
	get envelope(): RealtimeTopicEnvelope {
		return (this.#envelope ??= JSON.parse(this.#payload) as RealtimeTopicEnvelope);
	}

	/** The same message, marked as published before its reader's subscription began. */
	get asHistory(): LogEntry {
		return this.as(`${this.#payload.slice(0, -1)},"history":true}`);
	}

	/** Another message in the same place. */
	as(payload: string): LogEntry {
		const { cursor, kind, topic } = this;
		return new LogEntry({ cursor, kind, topic, payload });
	}
}

/** @returns whether a position lies after another; positions of different epochs do. */
export function isAfter(cursor: string, other: string | null): boolean {
	return other === null || (compareCursors(cursor, other) ?? 1) > 0;
}
