import { EVENT } from '../../protocol/constants.js';
import { compareCursors } from '../../protocol/cursor.js';
import { encodeEvent } from '../../protocol/frame.js';
import type { RealtimeTopicEnvelope } from '../../protocol/types.js';
import type { ReplayedEvent, ReplayEvent } from '../backend/replay.js';

/** What precedes the time of publishing in the JSON of an envelope. */
const CREATED_AT = '"createdAt":"';

/** An event with its position. What is derived from it is made once, and only where it is needed. */
export class LogEntry {
	/** Empty where it is in no log: sent to some readers alone. */
	readonly cursor: string;
	readonly kind: ReplayEvent['kind'];
	/** `null` for a `resync`, which goes to the readers of every topic. */
	readonly topic: string | null;
	/** Era of the log before which it was handed on already; 0 where it is new. */
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

	/** Its size: exact once it is encoded for a reader, before that the characters of its JSON. */
	get bytes(): number {
		return this.#frame?.length ?? this.#payload.length;
	}

	/** When it was published, in milliseconds; read without parsing the message. */
	get createdMs(): number | undefined {
		// After the data, where quotes are escaped, the text cannot occur again.
		const at = this.#payload.lastIndexOf(CREATED_AT);
		if (at < 0) return undefined;
		const start = at + CREATED_AT.length;
		const createdMs = Date.parse(this.#payload.slice(start, this.#payload.indexOf('"', start)));
		return Number.isNaN(createdMs) ? undefined : createdMs;
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

/** A question to some readers alone. Like a message, it is checked before it is sent. */
export class AskEntry extends LogEntry {
	readonly #text: string;
	#asking: Uint8Array | undefined;

	/**
	 * @param options.payload JSON of the message that is checked.
	 * @param options.text JSON of what is sent.
	 * @param options.isOver Whether it only says that nobody waits any more, which is not checked.
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

/** @returns whether a position lies after another; positions of different epochs do. */
export function isAfter(cursor: string, other: string | null): boolean {
	return other === null || (compareCursors(cursor, other) ?? 1) > 0;
}
