import { compareCursors } from '../../protocol/cursor.js';
import type { Frame } from '../../protocol/frame.js';
import type { HealthPayload, ResyncPayload } from '../../protocol/health.js';
import type { Positioned, RealtimeTopicEnvelope } from '../../protocol/types.js';
import { Signal } from './signal.js';

/** A message as the client has it. */
export type Message = Positioned<RealtimeTopicEnvelope>;

/** What came last on a topic: a message, or one that could not be read. */
export interface Arrival {
	raw: string;
	message?: Message;
	error?: unknown;
}

/** Whether a message is a piece of a data stream, its start or its end: no value of its topic. */
export function isPiece({ kind }: RealtimeTopicEnvelope): boolean {
	return /^(chunk|datastream-)/.test(kind);
}

/** The newest of one topic. */
export interface TopicSlot {
	/** The newest arrival, pieces of data streams aside; `null` before the first one. */
	arrival: Arrival | null;
	/** Emits every arrival, pieces of data streams included. */
	readonly signal: Signal<Arrival>;
}

/**
 * All that is known about one channel. Made by the bus when the channel becomes active, filled by the
 * transport, read by hooks. Lives as long as the channel is active, and returns with it if a hook
 * still holds it; streams come and go meanwhile.
 */
export class ChannelState {
	readonly channelId: string;
	/** Position of the last frame; what followed it is asked for on the next connection. */
	cursor = '';
	/** The newest message of any topic, pieces of data streams aside. */
	last: Message | null = null;
	/** Names the stream in what the page sends about its own member; set by each `sync`. */
	stream = '';
	/** Emits every frame that is not a duplicate. */
	readonly frames: Signal<Frame>;
	readonly healthChanges: Signal<void>;
	readonly #slots = new Map<string, TopicSlot>();
	readonly #signal: <T>() => Signal<T>;
	#health!: HealthPayload;
	/** How many messages have a cursor of this side. */
	#localCursors = 0;
	/** Cursor of the newest message. */
	#lastCursor = '';

	/**
	 * @param onError Called with what a listener threw.
	 * @param intervalMs Least milliseconds between two updates; `undefined` is one frame of the screen.
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

	/** Sets what this side knows about the channel's health; saying the same again is no change. */
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
	 * Takes a frame in, unless it repeats an earlier one.
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
		// Only a `sync` names it.
		else if ('stream' in data) this.stream = data.stream;
		this.frames.emit(frame);
	}

	/** Calls `handler` with every `resync`, until the returned function is called. */
	onResync(handler: (resync: ResyncPayload) => void): () => void {
		return this.frames.listen(({ event, data }) => {
			if (event === 'resync') handler(data);
		});
	}

	/** Takes in a message that could not be read; without a `topic` it may be of any. */
	receiveUnreadable(raw: string, error: unknown, topic?: string): void {
		for (const [name, slot] of this.#slots) {
			if (topic !== undefined && topic !== name) continue;
			slot.arrival = { raw, error };
			slot.signal.emit(slot.arrival);
		}
	}

	/**
	 * The cursor of a message, unique in its channel. An endpoint of another make may send no `id:`, or the
	 * same one again; then it is a number of this side, which no server understands.
	 */
	#position(cursor: string): string {
		if (cursor && cursor !== this.#lastCursor) return (this.#lastCursor = cursor);
		return `local-${++this.#localCursors}`;
	}
}
