import type { Frame } from '../protocol/frame.js';
import type { HealthPayload, ResyncReason } from '../protocol/health.js';
import type { PresencePayload } from '../protocol/presence.js';
import type { RealtimeTopicEnvelope } from '../protocol/types.js';
import { TEXT } from '../server/failure/failure.js';
import { checkDelay, Faults, type EndFault } from './faults.js';
import type { Transport, TransportOptions, TransportOwner } from '../client/transport/transport.js';

/** A delayed delivery. */
interface Passage {
	/** Whether its delay is over. */
	isDue: boolean;
	arrive(): void;
}

/** A channel that may not be read, or all of them. */
interface Denial {
	channel: string | undefined;
	detail: string;
}

/** A transport without a network: a test decides what arrives, and adds faults. */
export class TestTransport implements Transport {
	readonly #owner: TransportOwner;
	#wanted: readonly string[] = [];
	/** Channels that were stopped. */
	readonly #refused = new Set<string>();
	/** Channels whose health was set. */
	readonly #started = new Set<string>();
	#sequence = 0;
	/** Deliveries that have not arrived yet, in order. */
	readonly #passages: Passage[] = [];
	/** Channels that know that they may not be read. They are told once, as a server would do. */
	readonly #denied = new Set<string>();
	/** Frames for channels that may not be read, in order. */
	readonly #withheld: Frame[] = [];
	readonly #silences = new Faults();
	readonly #delays = new Faults<number>();
	readonly #denials = new Faults<Denial>();
	readonly #outages = new Faults();

	constructor(owner: TransportOwner) {
		this.#owner = owner;
	}

	/** Channels that are subscribed now. */
	get channels(): readonly string[] {
		return this.#wanted;
	}

	/** A channel is connected as soon as it is subscribed, unless a fault is active. */
	update({ subscriptions }: Pick<TransportOptions, 'subscriptions'>): void {
		this.#wanted = [...subscriptions.keys()];
		for (const channel of this.#started) {
			if (subscriptions.has(channel)) continue;
			this.#started.delete(channel);
			this.#denied.delete(channel);
		}
		for (const channel of this.#wanted) {
			if (!this.#started.has(channel)) this.#restore(channel);
		}
	}

	reconnect(): void {
		this.#refused.clear();
		this.#denied.clear();
		this.#restoreAll();
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

	/** Resolves when something that is sent now has arrived. */
	passed(): Promise<void> {
		return new Promise((resolve) => this.#pass(resolve));
	}

	/** Breaks the connection until it is ended. The page notices at once. */
	cut(): EndFault {
		for (const channel of this.#wanted) {
			if (this.#refused.has(channel) || this.#denied.has(channel)) continue;
			this.#owner.state(channel).tell('connecting');
		}
		const message = 'The test cut the connection.';
		this.#owner.report({ source: 'stream', message, fatal: false });
		const end = this.silence();
		return () => {
			end();
			this.#restoreAll();
		};
	}

	/** Holds everything back until it is ended. */
	silence(): EndFault {
		return this.#silences.begin(true, () => this.#flush());
	}

	/**
	 * Delays everything until it is ended.
	 *
	 * @throws {RealtimeError} `INVALID_OPTION` when it is not a duration.
	 */
	slow(delayMs: number): EndFault {
		checkDelay(delayMs);
		return this.#delays.begin(delayMs, () => {
			if (this.#delays.areOn) return;
			for (const passage of this.#passages) passage.isDue = true;
			this.#flush();
		});
	}

	/** Nobody may read a channel, or any channel, until it is ended. */
	deny(channel: string | undefined, detail: string): EndFault {
		const end = this.#denials.begin({ channel, detail }, () => {
			for (const frame of this.#withheld.splice(0)) this.#receive(frame);
			for (const denied of this.#denied) this.#restore(denied);
		});
		if (channel === undefined) this.#restoreAll();
		else this.#restore(channel);
		return end;
	}

	/**
	 * The backend is unavailable until this is ended. Messages still arrive, and health says what is missing.
	 */
	backendDown(): EndFault {
		const end = this.#outages.begin(true, () => this.#restoreAll());
		this.#restoreAll();
		return end;
	}

	#restoreAll(): void {
		for (const channel of this.#wanted) this.#restore(channel);
	}

	/** Sets the health of a channel under the current faults. */
	#restore(channel: string): void {
		const denial = this.#denialOf(channel);
		if (!denial) {
			this.#denied.delete(channel);
			const detail = this.#outages.areOn && TEXT.backendAway('test');
			this.health(channel, 'connected', detail ? { detail } : {});
		} else if (!this.#denied.has(channel)) {
			this.#denied.add(channel);
			const { detail } = denial;
			const more = { detail, code: 403, stage: 'reauthorization', fatal: true } as const;
			this.health(channel, 'degraded', more);
		}
	}

	#denialOf(channel: string): Denial | undefined {
		return this.#denials.active.find(
			(denial) => denial.channel === undefined || denial.channel === channel
		);
	}

	#position(data: { channel: string }): Pick<Frame, 'channel' | 'cursor' | 'raw'> {
		const cursor = `test-${++this.#sequence}`;
		return { channel: data.channel, cursor, raw: JSON.stringify(data) };
	}

	#receive(frame: Frame): void {
		this.#pass(() => this.#arrive(frame));
	}

	/** Delivers something after everything that came before it. */
	#pass(arrive: () => void): void {
		const delayMs = Math.max(0, ...this.#delays.active);
		const passage: Passage = { isDue: delayMs === 0, arrive };
		this.#passages.push(passage);
		if (passage.isDue) return this.#flush();
		setTimeout(() => {
			passage.isDue = true;
			this.#flush();
		}, delayMs);
	}

	/** Delivers everything that is due. */
	#flush(): void {
		while (this.#passages[0]?.isDue && !this.#silences.areOn) this.#passages.shift()!.arrive();
	}

	#arrive(frame: Frame): void {
		const { channel, event, data } = frame;
		if (!this.#wanted.includes(channel) || this.#refused.has(channel)) return;
		if (event !== 'health' && this.#denialOf(channel)) return void this.#withheld.push(frame);
		this.#owner.state(channel).receive(frame, true);
		if (event !== 'health' || data.status !== 'degraded') return;
		const { detail: message = 'The server ended the channel.', code, stage, fatal } = data;
		this.#owner.report({
			source: 'stream',
			message,
			channelId: channel,
			status: code,
			stage,
			fatal
		});
	}
}
