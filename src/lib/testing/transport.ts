import type { Frame } from '../protocol/frame.js';
import type { HealthPayload, ResyncReason } from '../protocol/health.js';
import type { PresencePayload } from '../protocol/presence.js';
import type { RealtimeTopicEnvelope } from '../protocol/types.js';
import type { EndFault } from './line.js';
import type { Transport, TransportOptions, TransportOwner } from '../client/transport/transport.js';

/** A transport without a network: a test decides what arrives. */
export class TestTransport implements Transport {
	readonly #owner: TransportOwner;
	#wanted: readonly string[] = [];
	/** Channels that were stopped. */
	readonly #refused = new Set<string>();
	/** Channels whose health was set. */
	readonly #started = new Set<string>();
	#sequence = 0;
	/** Frames that are held back, in order; `undefined` while everything arrives at once. */
	#held: Frame[] | undefined;
	#delayMs = 0;

	constructor(owner: TransportOwner) {
		this.#owner = owner;
	}

	/** Channels that are subscribed now. */
	get channels(): readonly string[] {
		return this.#wanted;
	}

	/** A channel is connected as soon as it is subscribed. */
	update({ subscriptions }: Pick<TransportOptions, 'subscriptions'>): void {
		this.#wanted = [...subscriptions.keys()];
		for (const channel of this.#started) {
			if (!subscriptions.has(channel)) this.#started.delete(channel);
		}
		for (const channel of this.#wanted) {
			if (!this.#started.has(channel)) this.health(channel, 'connected');
		}
	}

	reconnect(): void {
		this.#refused.clear();
		for (const channel of this.#wanted) this.health(channel, 'connected');
	}

	refuse(channels: readonly string[], detail: string, more?: Partial<HealthPayload>): void {
		for (const channel of channels) {
			this.#refused.add(channel);
			this.#owner.state(channel).tell('degraded', detail, more);
		}
	}

	close(): void {
		this.#wanted = [];
	}

	message(envelope: RealtimeTopicEnvelope): void {
		this.#receive({ event: 'message', data: { ...envelope }, ...this.#position(envelope) });
	}

	resync(channel: string, reason: ResyncReason): void {
		const data = { channel, reason, ts: Date.now() };
		this.#receive({ event: 'resync', data, ...this.#position(data) });
	}

	presence(payload: PresencePayload): void {
		const raw = JSON.stringify(payload);
		this.#receive({ event: 'presence', data: payload, channel: payload.channel, cursor: '', raw });
	}

	health(
		channel: string,
		status: HealthPayload['status'],
		more: Partial<HealthPayload> = {}
	): void {
		this.#started.add(channel);
		const data = { ok: status === 'connected', status, ts: Date.now(), channel, ...more };
		this.#receive({ event: 'health', data, channel, cursor: '', raw: JSON.stringify(data) });
	}

	/** Holds everything back until it is ended. */
	silence(): EndFault {
		const held = (this.#held ??= []);
		return () => {
			if (this.#held !== held) return;
			this.#held = undefined;
			for (const frame of held) this.#receive(frame);
		};
	}

	/** Delays everything until it is ended. */
	slow(delayMs: number): EndFault {
		this.#delayMs = delayMs;
		return () => void (this.#delayMs = 0);
	}

	#position(data: { channel: string }): Pick<Frame, 'channel' | 'cursor' | 'raw'> {
		const cursor = `test-${++this.#sequence}`;
		return { channel: data.channel, cursor, raw: JSON.stringify(data) };
	}

	#receive(frame: Frame): void {
		if (this.#held) this.#held.push(frame);
		else if (this.#delayMs) setTimeout(() => this.#arrive(frame), this.#delayMs);
		else this.#arrive(frame);
	}

	#arrive(frame: Frame): void {
		const { channel } = frame;
		if (!this.#wanted.includes(channel) || this.#refused.has(channel)) return;
		this.#owner.state(channel).receive(frame, true);
	}
}
