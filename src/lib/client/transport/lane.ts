import type { HealthPayload } from '../../protocol/health.js';
import { isSame, type Subscriptions } from '../subscriptions.js';
import type { RealtimeResolvedSubscription } from '../types.js';

/** A request without an answer by then has failed. */
const CONNECT_MS = 30_000;
/** Silence that ends a stream, in intervals of the server's health ticks. */
const SILENT_INTERVALS = 2.5;

/** What a lane carries for one channel. */
interface Carried {
	readonly subscription: RealtimeResolvedSubscription;
	/** Cursor that the request named. */
	readonly cursor: string;
	/** The newest health that came. */
	health?: HealthPayload;
	/** Whether more came than that it is connecting. */
	settled: boolean;
}

/**
 * One stream: what it was asked for, what it has said, and which channels it still carries. Owned by
 * the connection, which opens and closes it; owns the timer that notices its silence.
 */
export class Lane {
	readonly #controller = new AbortController();
	readonly #onSilence: () => void;
	#timer: ReturnType<typeof setTimeout> | undefined;
	#silenceMs = CONNECT_MS;
	#activeAt = Date.now();
	readonly endpoint: string;
	/** Body of the request. */
	readonly body: string;
	/** Where what it is refused counts: nowhere any more once something has changed since. */
	readonly refused: Set<string>;
	/** The only channel that was asked for. */
	readonly only: string | undefined;
	/**
	 * What it still carries, by channel. A channel is taken out when the server ended it, another lane has
	 * it, or nobody wants it.
	 */
	readonly carried = new Map<string, Carried>();
	readonly signal = this.#controller.signal;
	/** By the page's own clock, which nobody sets, in milliseconds; as `openedAt`. */
	readonly startedAt = performance.now();
	/** When the answer came; `NaN` before. */
	openedAt = NaN;
	/** Whether it is to be replaced, whatever it carries. */
	outdated = false;
	/** Whether a message came. */
	productive = false;

	constructor(
		endpoint: string,
		subscriptions: Subscriptions,
		refused: Set<string>,
		cursor: (channel: string) => string,
		onSilence: () => void
	) {
		this.endpoint = endpoint;
		this.refused = refused;
		this.#onSilence = onSilence;
		const all = [...subscriptions.values()].map((subscription) => {
			const { channelId: channel, ...rest } = subscription;
			const lastEventId = cursor(channel);
			this.carried.set(channel, { subscription, cursor: lastEventId, settled: false });
			return { channel, ...rest, lastEventId: lastEventId || undefined };
		});
		this.body = JSON.stringify(all[1] ? { subscriptions: all } : all[0]);
		if (!all[1]) this.only = all[0]?.channel;
		this.checkSilence();
	}

	/** Gives up what is not wanted, for good: whoever wants it again has missed what came meanwhile. */
	leave(wanted: Subscriptions): void {
		for (const channel of this.carried.keys()) {
			if (wanted.has(channel)) continue;
			this.carried.delete(channel);
			this.outdated = true;
		}
	}

	/** Whether it carries just what is wanted. */
	serves(endpoint: string, wanted: Subscriptions): boolean {
		const carried = [...this.carried.values()].map(({ subscription }) => subscription);
		return !this.outdated && endpoint === this.endpoint && isSame([...wanted.values()], carried);
	}

	/**
	 * The answer came; only the server's word on how often it speaks makes silence suspicious now.
	 *
	 * @param intervalMs What it said before, by another stream.
	 */
	open(intervalMs: number): void {
		this.openedAt = performance.now();
		this.expect(intervalMs);
	}

	/** Sets the interval at which the server says something, in milliseconds. */
	expect(intervalMs: number): void {
		this.#silenceMs = intervalMs * SILENT_INTERVALS;
		this.checkSilence();
	}

	/** Something came. */
	touch(): void {
		this.#activeAt = Date.now();
	}

	/** Reports a silence that has lasted too long; timers of sleeping machines come late. */
	checkSilence(): void {
		clearTimeout(this.#timer);
		const left = this.#activeAt + this.#silenceMs - Date.now();
		// A timer per chunk would cost more than one that looks again.
		if (left <= 0) this.#onSilence();
		else if (left < Infinity) this.#timer = setTimeout(() => this.checkSilence(), left);
	}

	close(): void {
		clearTimeout(this.#timer);
		this.#controller.abort();
	}
}
