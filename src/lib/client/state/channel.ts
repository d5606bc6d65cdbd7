import { compareCursors } from '../../protocol/cursor.js';
import type { HealthPayload, ResyncPayload } from '../../protocol/health.js';
import type { RealtimeTopicEnvelope } from '../../protocol/types.js';
import type { Frame } from '../../protocol/frame.js';
import { Signal } from './signal.js';

/** What came last on a topic: a message, or a frame that could not be read. */
export interface Arrival {
	raw: string;
	message?: RealtimeTopicEnvelope;
	error?: unknown;
}

/** Whether a message is a piece of a data stream, its start or its end: no value of its topic. */
export function isPiece({ kind }: RealtimeTopicEnvelope): boolean {
	return /chunk|stream/.test(kind);
}

/** The newest of one topic. */
export interface TopicSlot {
	/** The newest arrival, pieces of data streams aside; `null` before the first one. */
	arrival: Arrival | null;
	/** Emits every arrival, pieces of data streams included. */
	readonly signal: Signal<Arrival>;
}

/**
 * All that is known of one channel. Made by the bus when the channel becomes active, filled by the
 * connection, read by hooks. Lives as long as the channel is active, and returns with it if a hook
 * still holds it; streams come and go meanwhile.
 */
export class ChannelState {
	readonly channelId: string;
	/** Position of the last frame; what followed it is asked for on the next connection. */
	cursor = '';
	/** The newest message of any topic, pieces of data streams aside. */
	last: RealtimeTopicEnvelope | null = null;
	/** Emits every frame that is no repeat. */
	readonly frames: Signal<Frame>;
	readonly healthChanges: Signal<void>;
	readonly #slots = new Map<string, TopicSlot>();
	readonly #signal: <T>() => Signal<T>;
	#health!: HealthPayload;

	/**
	 * @param onError Told what a listener threw.
	 * @param intervalMs Least milliseconds between two updates; `undefined` is one frame.
	 */
	constructor(
		channelId: string,
		onError: (error: unknown) => void,
		intervalMs: () => number | undefined
	) {
		this.#signal = () => new Signal(onError, intervalMs);
		this.channelId = channelId;
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

	/** Sets what this side knows of the channel's health; saying the same again is no change. */
	tell(status: HealthPayload['status'], detail?: string, more?: Partial<HealthPayload>): void {
		const { health, channelId: channel } = this;
		if (status === health?.status && detail === health.detail) return;
		this.health = { ok: status === 'connected', status, ts: Date.now(), channel, detail, ...more };
	}

	topic(name: string): TopicSlot {
		let slot = this.#slots.get(name);
		if (!slot) {
			slot = { arrival: null, signal: this.#signal() };
			this.#slots.set(name, slot);
		}
		return slot;
	}

	/**
	 * Takes a frame in, unless it repeats one.
	 *
	 * @param speaks Whether the stream it came by is the one that tells of the channel's health.
	 */
	receive(frame: Frame, speaks: boolean): void {
		const { event, cursor, raw, data } = frame;
		if (cursor) {
			const isNew = (compareCursors(cursor, this.cursor) ?? 1) > 0;
			if (isNew) this.cursor = cursor;
			else if (event !== 'health') return;
		}
		if (event === 'message') {
			const slot = this.topic(data.topic);
			const arrival = { raw, message: data };
			if (!isPiece(data)) {
				this.last = data;
				slot.arrival = arrival;
			}
			slot.signal.emit(arrival);
		} else if (event === 'health' && speaks) this.health = data;
		this.frames.emit(frame);
	}

	/** Calls `handler` with every `resync`, until the returned function is called. */
	onResync(handler: (resync: ResyncPayload) => void): () => void {
		return this.frames.listen(({ event, data }) => {
			if (event === 'resync') handler(data);
		});
	}

	/** A frame that could not be read; nobody knows which topic it was of. */
	receiveUnreadable(raw: string, error: unknown): void {
		for (const slot of this.#slots.values()) {
			slot.arrival = { raw, error };
			slot.signal.emit(slot.arrival);
		}
	}
}
