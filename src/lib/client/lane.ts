import type { HealthPayload } from '../protocol/health.js';
import type { SubscriptionRequest } from '../protocol/request.js';
import { signature } from './subscriptions.js';
import type { RealtimeResolvedSubscription } from './types.js';

/** Silence that ends a stream, in intervals of the server's health ticks. */
const SILENT_INTERVALS = 2.5;

/** What a lane was asked for on behalf of one channel. */
interface Carried {
	/** Signature of the subscription. */
	key: string;
	/** Cursor that the request named. */
	cursor: string | undefined;
	subscription: RealtimeResolvedSubscription;
}

/**
 * One stream: what it was asked for, what it has said, and which channels it still carries. Owned by
 * the connection, which opens and closes it; owns the timer that notices its silence.
 */
export class Lane {
	readonly #controller = new AbortController();
	readonly #channels = new Map<string, Carried>();
	readonly #onSilence: () => void;
	#timer: ReturnType<typeof setTimeout> | undefined;
	#silenceMs = Infinity;
	#active = 0;
	readonly endpoint: string;
	/** The newest health that this stream told of each channel. */
	readonly health = new Map<string, HealthPayload>();
	/** Channels of which more came than that it is connecting. */
	readonly settled = new Set<string>();
	/** When the answer came, in milliseconds; 0 before. */
	openedAt = 0;
	/** Whether a message came. */
	productive = false;

	constructor(
		endpoint: string,
		subscriptions: RealtimeResolvedSubscription[],
		cursor: (channel: string) => string | undefined,
		onSilence: () => void
	) {
		this.endpoint = endpoint;
		this.#onSilence = onSilence;
		for (const subscription of subscriptions) {
			const { channelId } = subscription;
			const key = signature(subscription);
			this.#channels.set(channelId, { key, cursor: cursor(channelId), subscription });
		}
	}

	get signal(): AbortSignal {
		return this.#controller.signal;
	}

	get closed(): boolean {
		return this.signal.aborted;
	}

	/** Channels that it still carries. */
	get channels(): string[] {
		return [...this.#channels.keys()];
	}

	/** Body of the request. */
	get body(): string {
		const all = [...this.#channels.values()].map(
			({ cursor, subscription: { channelId: channel, topics, params } }): SubscriptionRequest => ({
				channel,
				topics: [...topics],
				params,
				lastEventId: cursor
			})
		);
		return JSON.stringify(all.length === 1 ? all[0] : { subscriptions: all });
	}

	/** @returns what was asked for, or `undefined` for a channel that it does not carry (any more). */
	get(channel: string): Carried | undefined {
		return this.#channels.get(channel);
	}

	/** Carries a channel no longer: the server ended it, or another lane has it. */
	leave(channel: string): void {
		this.#channels.delete(channel);
	}

	/** Whether it carries just what is wanted. */
	serves(endpoint: string, wanted: RealtimeResolvedSubscription[]): boolean {
		return (
			endpoint === this.endpoint &&
			wanted.length === this.#channels.size &&
			wanted.every((one) => this.get(one.channelId)?.key === signature(one))
		);
	}

	/** Sets the interval at which the server says something, in milliseconds. */
	expect(intervalMs: number): void {
		if (this.#silenceMs !== Infinity) return;
		this.#silenceMs = intervalMs * SILENT_INTERVALS;
		this.touch();
		this.checkSilence();
	}

	/** Something came. */
	touch(): void {
		this.#active = Date.now();
	}

	/** Reports a silence that has lasted too long; timers of sleeping machines come late. */
	checkSilence(): void {
		clearTimeout(this.#timer);
		if (this.closed || this.#silenceMs === Infinity) return;
		const left = this.#active + this.#silenceMs - Date.now();
		// A timer per chunk would cost more than one that looks again.
		if (left > 0) this.#timer = setTimeout(() => this.checkSilence(), left);
		else this.#onSilence();
	}

	close(): void {
		clearTimeout(this.#timer);
		this.#controller.abort();
	}
}
