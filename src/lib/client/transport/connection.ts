import { backoffMs } from '../../protocol/backoff.js';
import { DEFAULT_ENDPOINT } from '../../protocol/constants.js';
import { compareCursors } from '../../protocol/cursor.js';
import type { Frame } from '../../protocol/frame.js';
import type { HealthPayload } from '../../protocol/health.js';
import type { ChannelState } from '../state/channel.js';
import { createEventParser, type StreamEvent } from './events.js';
import { readFrame } from './frames.js';
import { Lane } from './lane.js';
import { watchPage, type Page, type PageEnvironment } from './page.js';
import { readStream, type StreamFailure } from './stream.js';
import { isSame, type Subscriptions } from '../subscriptions.js';
import type { RealtimeClientFailureContext, RealtimeReconnectOptions } from '../types.js';

/**
 * A replacement without headers by then may be waiting for the connection that the old stream holds;
 * one that by then has not started every channel takes over all the same.
 */
const HANDOVER_MS = 2_000;
/** Requests that replace another start at least this far apart, so that rapid changes become few. */
const COALESCE_MS = 250;

/** A stream that the server ends sooner may be the first of many; with a message, one ended within `COALESCE_MS`. */
const USEFUL_MS = 5_000;

/** Who a connection works for. */
export interface ConnectionOwner {
	/** Where what comes of a wanted channel goes. */
	state(channel: string): ChannelState;
	report(failure: RealtimeClientFailureContext): void;
}

/** What a connection shall do. */
export interface ConnectionOptions {
	endpoint?: string;
	subscriptions: Subscriptions;
	enabled?: boolean;
	reconnect?: RealtimeReconnectOptions | false;
	pauseOnHidden?: number | false;
	fetch?: typeof globalThis.fetch;
}

/**
 * Keeps one stream open for the wanted channels: reconnects, and replaces the stream when what is
 * wanted changes. The new one opens before the old one closes; both deliver meanwhile, and repeats are
 * told by their cursors. Owns its streams and timers and listens to the page, all until `close`.
 */
export class RealtimeConnection {
	readonly #owner: ConnectionOwner;
	readonly #page: Page;
	#options: ConnectionOptions | undefined;
	/** Where was asked for what; a change is a reason to try again what was refused. */
	#asked = '';
	#current: Lane | undefined;
	/** The stream that is to replace `#current`, or to become the first. */
	#next: Lane | undefined;
	/** Frames of channels whose subscription changes, kept back until the new stream has them or fails. */
	readonly #held = new Map<string, Frame[]>();
	/** The stream that the held frames came by. */
	#heldFrom: Lane | undefined;
	/** Channels not to try until something changes, which begins another set. */
	#refused = new Set<string>();
	/** Attempts that failed since a stream was last stable. */
	#failures = 0;
	/** The server's `retry:`, in milliseconds. */
	#retryMs: number | undefined;
	#retryTimer: ReturnType<typeof setTimeout> | undefined;
	#handoverTimer: ReturnType<typeof setTimeout> | undefined;
	/** `Retry-After` as a time; nothing may try before. */
	#notBefore = 0;
	/** How often the server says something, in milliseconds, once it has told. */
	#intervalMs = Infinity;
	/** Whether the server finished the last stream before it was of any use. */
	#endedEarly = false;

	constructor(owner: ConnectionOwner, environment?: PageEnvironment) {
		this.#owner = owner;
		this.#page = watchPage(
			{
				onChange: () => this.#wake(),
				// Where the network changed, what is open may be dead and not know it.
				onOnline: () => this.#renew()
			},
			environment
		);
	}

	/** Makes what is open follow what is wanted. */
	update(options: ConnectionOptions): void {
		const wanted = JSON.stringify([options.endpoint, ...options.subscriptions]);
		if (wanted !== this.#asked) {
			this.#asked = wanted;
			this.#refused = new Set();
			this.#hurry();
		}
		this.#options = options;
		this.#page.pauseOnHidden(options.pauseOnHidden);
		this.#sync();
	}

	/** Tries everything again now, also what was refused. */
	reconnect(): void {
		this.#refused = new Set();
		this.#failures = 0;
		this.#notBefore = 0;
		this.#renew();
	}

	/** Leaves channels alone until subscriptions change or `reconnect` is called, and says why. */
	refuse(channels: string[], detail: string, more?: Partial<HealthPayload>): void {
		this.#tell(channels, 'degraded', detail, more);
		for (const channel of channels) this.#refused.add(channel);
		this.#sync();
	}

	close(): void {
		this.#page.close();
		this.#options = undefined;
		this.#stop();
	}

	/** What is wanted and not refused. */
	get #wanted(): Subscriptions {
		return new Map(
			[...(this.#options?.subscriptions ?? [])].filter(([channel]) => !this.#refused.has(channel))
		);
	}

	/** Compares what is open with what is wanted, and acts. */
	#sync(): void {
		if (!this.#options) return;
		const { endpoint = DEFAULT_ENDPOINT, enabled = true, fetch } = this.#options;
		const wanted = this.#wanted;
		const paused = !enabled
			? 'the manager is not enabled'
			: this.#page.isAway() && 'the page is hidden';
		if (paused || !wanted.size) {
			this.#stop();
			if (paused) this.#tell(wanted.keys(), 'connecting', `Paused: ${paused}.`);
			return;
		}
		for (const lane of [this.#current, this.#next]) lane?.leave(wanted);
		const newest = this.#next ?? this.#current;
		if (this.#retryTimer !== undefined || newest?.serves(endpoint, wanted)) return;
		// One replacement at a time; the next sync comes with its end.
		if (this.#next && this.#current) return;
		const startAt = Math.max(this.#notBefore, newest ? newest.startedAt + COALESCE_MS : 0);
		const early = startAt - performance.now();
		if (early > 0) this.#wait(early);
		else this.#open(endpoint, wanted, fetch);
	}

	/** Opens a stream. What is held back waits on: the new one asks for what follows the same cursor. */
	#open(endpoint: string, wanted: Subscriptions, fetch: ConnectionOptions['fetch']): void {
		this.#next?.close();
		clearTimeout(this.#handoverTimer);
		const old = this.#current;
		const lane = new Lane(
			endpoint,
			wanted,
			this.#refused,
			(channel) => this.#owner.state(channel).cursor,
			() => this.#end(lane, { message: 'The realtime endpoint fell silent.' })
		);
		this.#next = lane;
		let isShared = false;
		for (const [channel, { cursor, subscription }] of lane.carried) {
			const before = old?.carried.get(channel);
			// Without a cursor nothing could tell a repeat; nothing was promised yet either.
			if (!before || !cursor || this.#held.has(channel)) {
				old?.carried.delete(channel);
				this.#owner.state(channel).tell('connecting');
				continue;
			}
			isShared = true;
			if (isSame(subscription, before.subscription)) continue;
			this.#held.set(channel, []);
			this.#heldFrom = old;
		}
		if (!isShared) {
			old?.close();
			this.#current = undefined;
		}
		this.#handoverTimer = setTimeout(() => {
			this.#dropCurrent();
			this.#promote();
		}, HANDOVER_MS);
		const parse = createEventParser(
			(event) => this.#receive(lane, event),
			(ms) => (this.#retryMs = ms)
		);
		void readStream(
			{ fetch, endpoint, body: lane.body, signal: lane.signal },
			() => {
				lane.open(this.#intervalMs);
				this.#promote();
			},
			(text) => {
				lane.touch();
				parse(text);
			}
		).then((failure) => this.#end(lane, failure));
	}

	/** Connects anew; what is open goes on until the new stream is there. */
	#renew(): void {
		if (this.#current) this.#current.outdated = true;
		else this.#detach(this.#next);
		this.#wake();
	}

	/** Does now what waits; timers of a machine that slept come late. */
	#wake(): void {
		this.#current?.checkSilence();
		this.#hurry();
		this.#sync();
	}

	#receive(lane: Lane, event: StreamEvent): void {
		if (lane.signal.aborted) return;
		let frame: Frame;
		try {
			frame = readFrame(event, lane.only);
		} catch (error) {
			const { data } = event;
			for (const channel of lane.carried.keys()) {
				this.#owner.state(channel).receiveUnreadable(data, error);
			}
			this.#owner.report({
				source: 'parse',
				message: `Unreadable realtime event: ${data.slice(0, 200)}`,
				error
			});
			return;
		}
		const { channel } = frame;
		const carried = lane.carried.get(channel);
		if (!carried) return;
		const state = this.#owner.state(channel);
		const health = frame.event === 'health' ? frame.data : undefined;
		if (health?.intervalMs) lane.expect((this.#intervalMs = health.intervalMs));
		const isOver = health?.status === 'degraded';
		const held = this.#held.get(channel);
		if (held && lane === this.#heldFrom) {
			held.push(frame);
			if (isOver) {
				lane.carried.delete(channel);
				state.tell('connecting');
			}
			return;
		}
		if (isOver) this.#current?.carried.delete(channel);
		if (health?.status !== 'connecting' && !carried.settled) {
			// The first that a stream has of a channel decides about frames held back for it.
			carried.settled = true;
			this.#held.delete(channel);
			const resynced = frame.event === 'resync';
			if (lane === this.#next && (held || resynced)) this.#current?.carried.delete(channel);
			// What is not delivered here is replayed by the new stream.
			for (const one of held ?? []) {
				const isBefore = (compareCursors(one.cursor, frame.cursor) ?? 0) <= 0;
				if (isOver || (resynced && isBefore)) state.receive(one, false);
			}
		}
		if (health) carried.health = health;
		else if (frame.event === 'message') lane.productive = true;
		// The old stream tells of a channel's health until it is replaced.
		const speaks = lane === this.#current || !this.#current?.carried.has(channel);
		// An endpoint of another make sends no health; that something comes is all there is to know.
		if (!carried.health) state.tell('connected');
		state.receive(frame, speaks);
		// Whoever heard of it may have closed the stream.
		if (isOver && !lane.signal.aborted) this.#channelEnded(lane, health);
		this.#promote();
	}

	/** The server sent `degraded`: that channel ends, others of the stream go on. */
	#channelEnded(lane: Lane, { channel, detail, code, stage, fatal }: HealthPayload): void {
		lane.carried.delete(channel);
		this.#owner.report({
			source: 'stream',
			message: detail ?? 'The server ended the channel.',
			channelId: channel,
			status: code,
			stage,
			fatal
		});
		if (!lane.carried.size) this.#detach(lane);
		if (fatal || this.#options?.reconnect === false) lane.refused.add(channel);
		else if (this.#retryTimer === undefined) this.#wait(this.#delay(lane));
		this.#sync();
	}

	/** Lets the new stream take over, once it has started all that the old one carries. */
	#promote(): void {
		const lane = this.#next;
		if (!lane || !(lane.openedAt >= 0)) return;
		for (const channel of this.#current?.carried.keys() ?? []) {
			if (lane.carried.get(channel)?.settled === false) return;
		}
		clearTimeout(this.#handoverTimer);
		this.#current?.close();
		this.#current = lane;
		this.#next = undefined;
		for (const [channel, { health }] of lane.carried) {
			if (health) this.#owner.state(channel).health = health;
		}
		this.#sync();
	}

	/** A stream ended: the server finished it, or it failed. */
	#end(lane: Lane, failure?: StreamFailure): void {
		if (lane.signal.aborted) return;
		const channels = [...lane.carried.keys()];
		const channelId = lane.only;
		const replaces = lane === this.#next && this.#current;
		this.#detach(lane);
		let why = 'The server ended the stream.';
		let delay = 0;
		if (failure) {
			const { message, status = 0, retryAfterMs = 0, error } = failure;
			const fatal = status > 0 && status < 500 && status !== 408 && status !== 429;
			this.#owner.report({
				source: lane.openedAt >= 0 ? 'stream' : 'request',
				message,
				channelId,
				status,
				fatal,
				error
			});
			if (fatal && lane.refused === this.#refused) {
				this.refuse(channels, message, { code: status, fatal });
				return;
			}
			why = message;
			// The old stream may be the one too many.
			if (status === 429 && replaces) this.#dropCurrent();
			else {
				this.#notBefore = performance.now() + retryAfterMs;
				delay = Math.max(retryAfterMs, this.#delay(lane));
			}
		} else {
			// Cut for its age or by a deploy. One that is of no use may do so once.
			const usefulMs = lane.productive ? COALESCE_MS : USEFUL_MS;
			const early = performance.now() - lane.openedAt < usefulMs;
			if (early && this.#endedEarly) delay = this.#delay(lane);
			this.#endedEarly = early;
		}
		const lost = channels.filter((channel) => !this.#current?.carried.has(channel));
		if (this.#next) delay = 0;
		else if (this.#options?.reconnect === false && !replaces && lane.refused === this.#refused) {
			this.refuse(lost, `${why} Reconnecting is off.`);
			return;
		}
		const when = delay ? `in ${(delay / 1000).toFixed(1)} s` : 'now';
		this.#tell(lost, 'connecting', `${why} Trying again ${when}.`);
		if (delay) this.#wait(delay);
		else if (!this.#next) this.#hurry();
		this.#promote();
		this.#sync();
	}

	/** Takes a stream out of service; what was held back for a new one that fails is delivered. */
	#detach(lane: Lane | undefined): void {
		if (!lane) return;
		lane.close();
		if (lane === this.#current) this.#current = undefined;
		if (lane === this.#next) {
			this.#next = undefined;
			clearTimeout(this.#handoverTimer);
		}
		if (lane !== this.#heldFrom) this.#releaseHeld();
	}

	#releaseHeld(): void {
		const held = [...this.#held];
		const wanted = this.#wanted;
		this.#held.clear();
		this.#heldFrom = undefined;
		for (const [channel, frames] of held) {
			if (!wanted.has(channel)) continue;
			for (const frame of frames) this.#owner.state(channel).receive(frame, false);
		}
	}

	/** Closes the old stream before the new one is there. */
	#dropCurrent(): void {
		const lane = this.#current;
		this.#detach(lane);
		this.#tell(lane?.carried.keys() ?? [], 'connecting');
	}

	/** Milliseconds until the next attempt after a stream that ended. */
	#delay(lane: Lane): number {
		const {
			minDelayMs = 500,
			maxDelayMs = 30_000,
			stableMs = 60_000
		} = this.#options?.reconnect || {};
		if (performance.now() - lane.openedAt >= stableMs) this.#failures = 0;
		return backoffMs(this.#failures++, this.#retryMs ?? minDelayMs, maxDelayMs);
	}

	#wait(ms: number): void {
		this.#hurry();
		if (!this.#options) return;
		this.#retryTimer = setTimeout(() => {
			this.#retryTimer = undefined;
			this.#sync();
		}, ms);
	}

	/** Ends a wait; what the server asked for still holds. */
	#hurry(): void {
		clearTimeout(this.#retryTimer);
		this.#retryTimer = undefined;
	}

	#stop(): void {
		this.#hurry();
		this.#detach(this.#current);
		this.#detach(this.#next);
		this.#releaseHeld();
	}

	#tell(channels: Iterable<string>, ...what: Parameters<ChannelState['tell']>): void {
		const wanted = this.#wanted;
		for (const channel of channels) {
			if (wanted.has(channel)) this.#owner.state(channel).tell(...what);
		}
	}
}
