import { EVENT } from '../../protocol/constants.js';
import { compareCursors } from '../../protocol/cursor.js';
import { encodeEvent } from '../../protocol/frame.js';
import type { RealtimeTopicEnvelope } from '../../protocol/types.js';
import type { ReplayedEvent, ReplayEvent } from '../backend/replay.js';

/** The text before the time of publishing in the JSON of an envelope. */
const CREATED_AT = '"createdAt":"';

/** An event with its position. Everything derived from it is computed once, when it is first needed. */
export class LogEntry {
	/** Empty if it is in no log: it was sent to certain readers only. */
	readonly cursor: string;
	readonly kind: ReplayEvent['kind'];
	/** `null` for a `resync`, which goes to the readers of every topic. */
	readonly topic: string | null;
	/** Era of the log before which it was delivered already; 0 if it is new. */
	readonly heardBefore: number;
	readonly #payload: string;
	#envelope: RealtimeTopicEnvelope | undefined;
	#frame: Uint8Array | undefined;

	constructor({ cursor, kind, topic, payload }: ReplayedEvent, heardBefore = 0) {
		this.cursor = cursor;
		this.kind = kind ?? (topic === null ? 'resync' : 'message');
		this.topic = topic;
		this.heardBefore = heardBefore;
		this.#payload = payload;
	}

	get frame(): Uint8Array {
		return (this.#frame ??= encodeEvent(EVENT[this.kind], this.#payload, this.cursor || undefined));
	}

	/**
	 * Its size in bytes: exact once it is encoded for a reader, before that the number of characters of its
	 * JSON.
	 */
	get bytes(): number {
		return this.#frame?.length ?? this.#payload.length;
	}

	/** When it was published, in milliseconds; read without parsing the message. */
	get createdMs(): number | undefined {
		// The text cannot occur in the data, where quotes are escaped.
		const at = this.#payload.lastIndexOf(CREATED_AT);
		if (at < 0) return undefined;
		const start = at + CREATED_AT.length;
		const createdMs = Date.parse(this.#payload.slice(start, this.#payload.indexOf('"', start)));
		return Number.isNaN(createdMs) ? undefined : createdMs;
	}

	/** The JSON that is sent. */
	get payload(): string {
		return this.#payload;
	}

	/** The message as its readers see it, after JSON; not to be read from a `resync`. */
	get envelope(): RealtimeTopicEnvelope {
		return (this.#envelope ??= JSON.parse(this.#payload) as RealtimeTopicEnvelope);
	}

	/** The same message, marked as published before its reader subscribed. */
	get asHistory(): LogEntry {
		return this.as(`${this.#payload.slice(0, -1)},"history":true}`);
	}

	/** Another message at the same position. */
	as(payload: string): LogEntry {
		const { cursor, kind, topic } = this;
		return new LogEntry({ cursor, kind, topic, payload });
	}
}

/** A question to certain readers only. Like a message, it is checked before it is sent. */
export class AskEntry extends LogEntry {
	readonly #text: string;
	#asking: Uint8Array | undefined;

	/**
	 * @param options.payload JSON of the message that is checked.
	 * @param options.text The JSON that is sent. @param options.isOver Whether it only says that nobody waits
	 *   any more; this is not checked.
	 */
	constructor({
		topic,
		payload,
		text,
		isOver
	}: {
		topic: string;
		payload: string;
		text: string;
		isOver: boolean;
	}) {
		super({ cursor: '', kind: isOver ? 'resync' : 'message', topic, payload });
		this.#text = text;
	}

	override get frame(): Uint8Array {
		return (this.#asking ??= encodeEvent(EVENT.ask, this.#text));
	}
}

/** @returns whether a position comes after another; positions of different epochs always do. */
export function isAfter(cursor: string, other: string | null): boolean {
	return other === null || (compareCursors(cursor, other) ?? 1) > 0;
}
