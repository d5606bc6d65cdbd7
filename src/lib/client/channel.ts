import { compareCursors } from '../protocol/cursor.js';
import type { HealthPayload, ResyncPayload } from '../protocol/health.js';
import type { RealtimeTopicEnvelope } from '../protocol/types.js';
import type { Frame } from './frames.js';
import { Signal } from './signal.js';

/** What came last on a topic: a message, or a frame that could not be read. */
export interface Arrival {
	raw: string;
	message?: RealtimeTopicEnvelope;
	error?: Error;
}

/** The newest of one topic. */
export interface TopicSlot {
	/** The newest arrival; `null` before the first one. */
	arrival: Arrival | null;
	/** The newest message; `null` before the first one. */
	last: RealtimeTopicEnvelope | null;
	/** Emits every arrival. */
	readonly signal: Signal<Arrival>;
}

/**
 * All that is known of one channel. Made by the bus when the channel becomes active, filled by the
 * connection, read by hooks. Lives as long as the channel is active or a hook holds it; streams come
 * and go meanwhile.
 */
export class ChannelState {
	readonly channelId: string;
	/** Position of the last frame; what followed it is asked for on the next connection. */
	cursor: string | undefined;
	/** Hooks that hold on to this. */
	holders = 0;
	/** The newest message of any topic. */
	last: RealtimeTopicEnvelope | null = null;
	readonly messages: Signal<RealtimeTopicEnvelope>;
	readonly resyncs: Signal<ResyncPayload>;
	readonly healthChanges: Signal;
	/** Emits name and raw data of every event. */
	readonly events: Signal<{ name: string; raw: string }>;
	readonly #slots = new Map<string, TopicSlot>();
	readonly #signal: <T = void>() => Signal<T>;
	#health: HealthPayload;

	/**
	 * @param onError Told what a listener threw.
	 * @param intervalMs Least milliseconds between two updates; `undefined` is one frame.
	 */
	constructor(
		channelId: string,
		onError: (error: unknown) => void,
		intervalMs: () => number | undefined
	) {
		this.#signal = <T>() => new Signal<T>(onError, intervalMs);
		this.channelId = channelId;
		this.messages = this.#signal();
		this.resyncs = this.#signal();
		this.healthChanges = this.#signal();
		this.events = this.#signal();
		this.#health = { ok: false, status: 'connecting', ts: Date.now(), channel: channelId };
	}

	get health(): HealthPayload {
		return this.#health;
	}

	set health(health: HealthPayload) {
		this.#health = health;
		this.healthChanges.emit();
	}

	topic(name: string): TopicSlot {
		let slot = this.#slots.get(name);
		if (!slot) {
			slot = { arrival: null, last: null, signal: this.#signal() };
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
		const { cursor, raw } = frame;
		const order = cursor && this.cursor ? compareCursors(cursor, this.cursor) : null;
		if (frame.event === 'message' && order !== null && order <= 0) return;
		if (cursor && (order === null || order > 0)) this.cursor = cursor;
		this.events.emit({ name: frame.event ?? frame.name, raw });
		if (frame.event === 'message') {
			const { data: message } = frame;
			this.last = message;
			const slot = this.topic(message.topic);
			slot.last = message;
			slot.arrival = { raw, message };
			slot.signal.emit(slot.arrival);
			this.messages.emit(message);
		} else if (frame.event === 'resync') this.resyncs.emit(frame.data);
		else if (frame.event === 'health' && speaks) this.health = frame.data;
	}

	/** A frame that could not be read; nobody knows which topic it was of. */
	receiveUnreadable(raw: string, error: Error): void {
		for (const slot of this.#slots.values()) {
			slot.arrival = { raw, error };
			slot.signal.emit(slot.arrival);
		}
	}
}
