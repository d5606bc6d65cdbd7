import { MAX_TIMER_MS } from '../../protocol/constants.js';
import type { HealthPayload } from '../../protocol/health.js';
import { identify, type Subscriptions } from '../subscriptions.js';
import type { RealtimeResolvedSubscription } from '../types.js';
import { createEventParser, type StreamEvent } from './events.js';
import { readStream, type StreamFailure } from './request.js';

/** A request without an answer within this time has failed, in milliseconds. */
const CONNECT_MS = 30_000;
/** Silence that ends a stream, in intervals of the server's health ticks. */
const SILENT_INTERVALS = 2.5;

/** What a stream carries for one channel. */
interface Carried {
	readonly subscription: RealtimeResolvedSubscription;
	/** Cursor that the request named. */
	readonly cursor: string;
	/** The newest health that came. */
	health?: HealthPayload;
	/** Whether more came than that it is connecting. */
	settled: boolean;
}

/** What to ask for. */
export interface StreamOptions {
	endpoint: string;
	fetch?: typeof globalThis.fetch;
	subscriptions: Subscriptions;
	/** Channels that are not tried again until something changes, which starts another set. */
	refused: Set<string>;
	/** Where a channel resumes; empty when it has no cursor yet. */
	cursor: (channel: string) => string;
	/** How often the server last said it would speak, in milliseconds. */
	intervalMs: number;
}

/** What happens to a stream. None is called after `close`. */
export interface StreamEvents {
	onOpen(): void;
	onEvent(event: StreamEvent): void;
	/** The server's `retry:`, in milliseconds. */
	onRetry(ms: number): void;
	/** @param failure Why it failed; `undefined` when the server finished it. */
	onEnd(failure?: StreamFailure): void;
}

/**
 * One request and its event stream: what was asked for, and which channels it still carries. Owned by the
 * transport, which starts and closes it; owns the timer that notices its silence.
 */
export class Stream {
	readonly #controller = new AbortController();
	readonly #options: StreamOptions;
	readonly #events: StreamEvents;
	readonly #body: string;
	#timer: ReturnType<typeof setTimeout> | undefined;
	#silenceMs = CONNECT_MS;
	/** When something last came, by the page's own clock. */
	#activeAt = performance.now();
	/** By how much the wall clock was ahead then. */
	#aheadMs = clockDifference();
	/** The only channel that was asked for. */
	readonly only: string | undefined;
	/**
	 * What it still carries, by channel. A channel is removed when the server ended it, when another stream
	 * has it, or when nobody wants it any more.
	 */
	readonly carried = new Map<string, Carried>();
	/** When the answer came, by the page's own clock, in milliseconds; `NaN` before. */
	openedAt = NaN;
	/** Whether it is to be replaced, whatever it carries. */
	outdated = false;
	/** Whether a message came. */
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

	/** Channels that it was refused for good; without effect once something has changed since. */
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
				// From now on only what the server says about its interval makes silence suspicious.
				this.expect(this.#options.intervalMs);
				this.#events.onOpen();
			},
			(text) => {
				this.#touch();
				parse(text);
			}
		).then((failure) => this.#end(failure));
	}

	/** Drops what is not wanted, for good: if it is wanted again, it has missed what came meanwhile. */
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

	/** Sets the interval at which the server says something, in milliseconds. */
	expect(intervalMs: number): void {
		this.#silenceMs = intervalMs * SILENT_INTERVALS;
		this.checkSilence();
	}

	/**
	 * Fails the stream if it has been silent for too long. While a machine sleeps, the page's own clock may
	 * stand still. If the wall clock went on meanwhile, the stream may be dead, or somebody set the clock: it
	 * is to be replaced, but not cut.
	 */
	checkSilence(): void {
		clearTimeout(this.#timer);
		if (this.isClosed) return;
		if (clockDifference() - this.#aheadMs > this.#silenceMs) this.outdated = true;
		const left = this.#activeAt + this.#silenceMs - performance.now();
		if (left <= 0) this.#end({ message: 'The realtime endpoint fell silent.' });
		// One timer that looks again costs less than one per chunk.
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
