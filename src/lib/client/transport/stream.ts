import { MAX_TIMER_MS } from '../../protocol/constants.js';
import type { HealthPayload } from '../../protocol/health.js';
import { identify, type Subscriptions } from '../subscriptions.js';
import type { RealtimeResolvedSubscription } from '../types.js';
import { createEventParser, type StreamEvent } from './events.js';
import { readStream, type StreamFailure } from './request.js';

/** A request without a response within this time, in milliseconds, has failed. */
const CONNECT_MS = 30_000;
/** How many of the server's health intervals of silence end a stream. */
const SILENT_INTERVALS = 2.5;

/** The state of one channel on a stream. */
interface Carried {
	readonly subscription: RealtimeResolvedSubscription;
	/** Cursor that the request named. */
	readonly cursor: string;
	/** The newest health that came. */
	health?: HealthPayload;
	/** Whether anything besides `connecting` has arrived. */
	settled: boolean;
}

/** What to ask for. */
export interface StreamOptions {
	endpoint: string;
	fetch?: typeof globalThis.fetch;
	subscriptions: Subscriptions;
	/** Channels that are not tried again until something changes, which starts a new set. */
	refused: Set<string>;
	/** Where a channel resumes; empty when it has no cursor yet. */
	cursor: (channel: string) => string;
	/** The server's last known health interval, in milliseconds. */
	intervalMs: number;
}

/** Callbacks of a stream. None is called after `close`. */
export interface StreamEvents {
	onOpen(): void;
	onEvent(event: StreamEvent): void;
	/** The server's `retry:`, in milliseconds. */
	onRetry(ms: number): void;
	/** @param failure Why it failed; `undefined` when the server finished it. */
	onEnd(failure?: StreamFailure): void;
}

/**
 * One request and its event stream: what was requested, and which channels it still carries. Owned by the
 * transport, which starts and closes it. It owns the timer that notices silence.
 */
export class Stream {
	readonly #controller = new AbortController();
	readonly #options: StreamOptions;
	readonly #events: StreamEvents;
	readonly #body: string;
	#timer: ReturnType<typeof setTimeout> | undefined;
	#silenceMs = CONNECT_MS;
	/** When something last arrived, by the page's monotonic clock. */
	#activeAt = performance.now();
	/** How far the wall clock was ahead of the monotonic clock then. */
	#aheadMs = clockDifference();
	/** The requested channel, if there is only one. */
	readonly only: string | undefined;
	/**
	 * The channels it still carries. A channel is removed when the server ended it, when another stream carries
	 * it, or when nobody wants it any more.
	 */
	readonly carried = new Map<string, Carried>();
	/** When the response arrived, by the page's monotonic clock, in milliseconds; `NaN` before. */
	openedAt = NaN;
	/** Whether it must be replaced, whatever it carries. */
	outdated = false;
	/** Whether a message has arrived. */
	productive = false;

	constructor(options: StreamOptions, events: StreamEvents) {
		this.#options = options;
		this.#events = events;
		const requests = [...options.subscriptions.values()].map((subscription) => {
			const { channelId: channel, topics, params, since, history } = subscription;
			const cursor = options.cursor(channel);
			this.carried.set(channel, { subscription, cursor, settled: false });
			const start = cursor ? { lastEventId: cursor } : { since, history };
			return { channel, topics, params, ...start };
		});
		const isSingle = requests.length === 1;
		this.#body = JSON.stringify(isSingle ? requests[0] : { subscriptions: requests });
		if (isSingle) this.only = requests[0]!.channel;
	}

	get isClosed(): boolean {
		return this.#controller.signal.aborted;
	}

	get isOpen(): boolean {
		return this.openedAt >= 0;
	}

	/** Adds channels that were refused for good; has no effect if something has changed since. */
	get refused(): Set<string> {
		return this.#options.refused;
	}

	/** Sends the request. */
	start(): void {
		const { endpoint, fetch } = this.#options;
		const { signal } = this.#controller;
		const parse = createEventParser(
			(event) => {
				if (!signal.aborted) this.#events.onEvent(event);
			},
			(ms) => this.#events.onRetry(ms)
		);
		this.checkSilence();
		void readStream(
			{ fetch, endpoint, body: this.#body, signal },
			() => {
				this.openedAt = performance.now();
				// From now on, silence only matters if the server has told its interval.
				this.expect(this.#options.intervalMs);
				this.#events.onOpen();
			},
			(text) => {
				this.#touch();
				parse(text);
			}
		).then((failure) => this.#end(failure));
	}

	/** Drops unwanted channels for good: if one is wanted again, it has missed messages meanwhile. */
	leave(wanted: Subscriptions): void {
		for (const channel of this.carried.keys()) {
			if (wanted.has(channel)) continue;
			this.carried.delete(channel);
			this.outdated = true;
		}
	}

	/** Whether it carries exactly what is wanted. */
	serves(endpoint: string, wanted: Subscriptions): boolean {
		if (this.outdated || endpoint !== this.#options.endpoint) return false;
		const carried = [...this.carried.values()].map(({ subscription }) => subscription);
		return identify(...carried) === identify(...wanted.values());
	}

	/** Sets the server's health interval, in milliseconds. */
	expect(intervalMs: number): void {
		this.#silenceMs = intervalMs * SILENT_INTERVALS;
		this.checkSilence();
	}

	/**
	 * Fails the stream if it has been silent for too long. While a machine sleeps, the monotonic clock may stand
	 * still. If the wall clock has advanced meanwhile, either the stream may be dead or somebody set the clock:
	 * replace the stream, but do not cut it.
	 */
	checkSilence(): void {
		clearTimeout(this.#timer);
		if (this.isClosed) return;
		if (clockDifference() - this.#aheadMs > this.#silenceMs) this.outdated = true;
		const left = this.#activeAt + this.#silenceMs - performance.now();
		if (left <= 0) this.#end({ message: 'The realtime endpoint fell silent.' });
		// One timer that checks again costs less than one timer per chunk.
		else if (left < Infinity) {
			this.#timer = setTimeout(() => this.checkSilence(), Math.min(left, MAX_TIMER_MS));
		}
	}

	close(): void {
		clearTimeout(this.#timer);
		this.#controller.abort();
	}

	#touch(): void {
		this.#activeAt = performance.now();
		this.#aheadMs = clockDifference();
	}

	#end(failure?: StreamFailure): void {
		if (!this.isClosed) this.#events.onEnd(failure);
	}
}

function clockDifference(): number {
	return Date.now() - performance.now();
}
