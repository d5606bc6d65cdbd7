import { compareCursors } from '../../protocol/cursor.js';
import type { Frame } from '../../protocol/frame.js';
import type { HealthPayload, ResyncPayload } from '../../protocol/health.js';
import type { Positioned, RealtimeTopicEnvelope } from '../../protocol/types.js';
import { Signal } from './signal.js';

/** A message with its cursor. */
export type Message = Positioned<RealtimeTopicEnvelope>;

/** The last arrival on a topic: a message, or one that could not be read. */
export interface Arrival {
	raw: string;
	message?: Message;
	error?: unknown;
}

/**
 * Whether a message belongs to a data stream (a piece, its start or its end) and so is not a value of its
 * topic.
 */
export function isPiece({ kind }: RealtimeTopicEnvelope): boolean {
	return /^(chunk|datastream-)/.test(kind);
}

/** The newest message of one topic. */
export interface TopicSlot {
	/** The newest arrival, without pieces of data streams; `null` before the first one. */
	arrival: Arrival | null;
	/** Emits every arrival, pieces of data streams included. */
	readonly signal: Signal<Arrival>;
}

/**
 * The state of one channel. The bus creates it when the channel becomes active, the transport fills it, and
 * hooks read it. It lives as long as the channel is active, through reconnects, and is used again if the
 * channel comes back while a hook still holds it.
 */
export class ChannelState {
	readonly channelId: string;
	/** Position of the last frame; the next connection resumes after it. */
	cursor = '';
	/** The newest message of any topic, without pieces of data streams. */
	last: Message | null = null;
	/** Name of the stream, for data that the page sends about its own member; set by each `sync`. */
	stream = '';
	/** Emits every frame that is not a duplicate. */
	readonly frames: Signal<Frame>;
	readonly healthChanges: Signal<void>;
	readonly #slots = new Map<string, TopicSlot>();
	readonly #signal: <T>() => Signal<T>;
	#health!: HealthPayload;
	/** How many messages got a cursor from the client. */
	#localCursors = 0;
	/** Cursor of the newest message. */
	#lastCursor = '';

	/**
	 * @param onError Called with the error of a listener. @param intervalMs Minimum time, in milliseconds,
	 *   between two updates; `undefined` is one frame of the screen.
	 */
	constructor(
		channelId: string,
		onError: (error: unknown) => void,
		intervalMs: () => number | undefined
	) {
		this.channelId = channelId;
		this.#signal = () => new Signal(onError, intervalMs);
		this.frames = this.#signal();
		this.healthChanges = this.#signal();
		this.tell('connecting');
	}

	get health(): HealthPayload {
		return this.#health;
	}

	set health(health: HealthPayload) {
		this.#health = health;
		this.healthChanges.emit();
	}

	/** Sets the health as far as the client knows it. Setting the same again changes nothing. */
	tell(status: HealthPayload['status'], detail?: string, more?: Partial<HealthPayload>): void {
		const { health, channelId: channel } = this;
		if (status === health?.status && detail === health.detail) return;
		this.health = { ok: status === 'connected', status, ts: Date.now(), channel, detail, ...more };
	}

	topic(name: string): TopicSlot {
		const slot = this.#slots.get(name) ?? { arrival: null, signal: this.#signal() };
		this.#slots.set(name, slot);
		return slot;
	}

	/**
	 * Handles a frame, unless it repeats an earlier one.
	 *
	 * @param speaks Whether it came from the stream that reports the channel's health.
	 */
	receive(frame: Frame, speaks: boolean): void {
		const { event, cursor, raw, data } = frame;
		if (cursor) {
			const isNew = (compareCursors(cursor, this.cursor) ?? 1) > 0;
			if (isNew) this.cursor = cursor;
			else if (event !== 'health') return;
		}
		if (event === 'message') {
			const message = Object.assign(data, { cursor: this.#position(cursor) });
			const slot = this.topic(message.topic);
			const arrival = { raw, message };
			if (!isPiece(message)) {
				this.last = message;
				slot.arrival = arrival;
			}
			slot.signal.emit(arrival);
		} else if (event === 'health' && speaks) this.health = data;
		// Only a `sync` has it.
		else if ('stream' in data) this.stream = data.stream;
		this.frames.emit(frame);
	}

	/** Calls `handler` with every `resync`, until the returned function is called. */
	onResync(handler: (resync: ResyncPayload) => void): () => void {
		return this.frames.listen(({ event, data }) => {
			if (event === 'resync') handler(data);
		});
	}

	/** Handles a message that could not be read; without a `topic` it may belong to any. */
	receiveUnreadable(raw: string, error: unknown, topic?: string): void {
		for (const [name, slot] of this.#slots) {
			if (topic !== undefined && topic !== name) continue;
			slot.arrival = { raw, error };
			slot.signal.emit(slot.arrival);
		}
	}

	/**
	 * The cursor of a message, unique in its channel. Another kind of endpoint may send no `id:`, or the same
	 * one again; the client then numbers messages itself, and no server understands that number.
	 */
	#position(cursor: string): string {
		if (cursor && cursor !== this.#lastCursor) return (this.#lastCursor = cursor);
		return `local-${++this.#localCursors}`;
	}
}
