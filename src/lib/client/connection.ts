import { DEFAULT_ENDPOINT } from '../protocol/constants.js';
import { compareCursors } from '../protocol/cursor.js';
import type { HealthPayload } from '../protocol/health.js';
import { Backoff } from './backoff.js';
import type { ChannelState } from './channel.js';
import { createEventParser, type StreamEvent } from './events.js';
import { readFrame, type Frame } from './frames.js';
import { Lane } from './lane.js';
import { watchPage, type Page, type PageEnvironment } from './page.js';
import { readStream, type StreamFailure } from './stream.js';
import { isSame, type Subscriptions } from './subscriptions.js';
import type { RealtimeClientFailureContext, RealtimeReconnectOptions } from './types.js';

/**
 * A replacement without headers by then may be waiting for the connection that the old stream holds;
 * one that by then has not started every channel takes over all the same.
 */
const HANDOVER_MS = 2_000;
/** Requests that replace another start at least this far apart, so that rapid changes become few. */
const COALESCE_MS = 250;

/** A stream that the server ends sooner, before any message, may be the first of many. */
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
	readonly #backoff = new Backoff();
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
	/** Channels not to try until something changes. */
	readonly #refused = new Set<string>();
	#retryTimer: ReturnType<typeof setTimeout> | undefined;
	#handoverTimer: ReturnType<typeof setTimeout> | undefined;
	/** `Retry-After` as a time; nothing may try before. */
	#notBefore = 0;
	/** Whether the server finished the last stream before it was of any use. */
	#endedEarly = false;

	constructor(owner: ConnectionOwner, environment?: PageEnvironment) {
		this.#owner = owner;
		this.#page = watchPage(
			{
				onChange: () => this.#sync(),
				onWake: () => {
					this.#current?.checkSilence();
					this.#hurry();
					this.#sync();
				},
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
			this.#refused.clear();
			this.#hurry();
		}
		this.#options = options;
		this.#page.pauseOnHidden(options.pauseOnHidden);
		this.#sync();
	}

	/** Tries everything again now, also what was refused. */
	reconnect(): void {
		this.#refused.clear();
		this.#backoff.reset();
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
		const { endpoint = DEFAULT_ENDPOINT, enabled = true } = this.#options;
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
		const early = startAt - Date.now();
		if (early > 0) this.#wait(early);
		else this.#open();
	}

	/** Opens a stream for what is wanted now. */
	#open(): void {
		const { endpoint = DEFAULT_ENDPOINT, fetch } = this.#options as ConnectionOptions;
		this.#detach(this.#next);
		const old = this.#current;
		const lane = new Lane(
			endpoint,
			this.#wanted,
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
		if (!isShared) this.#dropCurrent();
		this.#handoverTimer = setTimeout(() => {
			this.#dropCurrent();
			this.#promote();
		}, HANDOVER_MS);
		const parse = createEventParser(
			(event) => this.#receive(lane, event),
			(ms) => (this.#backoff.retryMs = ms)
		);
		void readStream(
			{ fetch, endpoint, body: lane.body, signal: lane.signal },
			() => {
				lane.open();
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
			const message = `Unreadable realtime event: ${data.slice(0, 200)}`;
			this.#owner.report({ source: 'parse', message, error });
			return;
		}
		const { channel } = frame;
		const carried = lane.carried.get(channel);
		if (!carried) return;
		const state = this.#owner.state(channel);
		const health = frame.event === 'health' ? frame.data : undefined;
		if (health?.intervalMs) lane.expect(health.intervalMs);
		const held = lane === this.#heldFrom && this.#held.get(channel);
		if (held) {
			if (health?.status === 'degraded') lane.carried.delete(channel);
			held.push(frame);
			return;
		}
		if (health?.status !== 'connecting' && !carried.settled) {
			carried.settled = true;
			this.#settle(lane, frame, state);
		}
		if (health) carried.health = health;
		else if (frame.event === 'message') lane.productive = true;
		// The old stream tells of a channel's health until it is replaced.
		const speaks = lane === this.#current || !this.#current?.carried.has(channel);
		state.receive(frame, speaks);
		// An endpoint of another make sends no health; that something comes is all there is to know.
		if (!carried.health) state.tell('connected');
		if (health?.status === 'degraded') this.#channelEnded(lane, health);
		this.#promote();
	}

	/** The first that a stream has of a channel decides about frames held back for it. */
	#settle(lane: Lane, frame: Frame, state: ChannelState): void {
		const { channel, cursor } = frame;
		const held = this.#held.get(channel);
		this.#held.delete(channel);
		const failed = frame.event === 'health' && !frame.data.ok;
		const resynced = frame.event === 'resync';
		if (lane === this.#next && (held || failed || resynced)) this.#current?.carried.delete(channel);
		// What is not delivered here is replayed by the new stream.
		for (const one of held ?? []) {
			const isBefore = (compareCursors(one.cursor, cursor) ?? 0) <= 0;
			if (failed || (resynced && isBefore)) state.receive(one, false);
		}
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
		if (fatal || this.#options?.reconnect === false) this.#refused.add(channel);
		else if (this.#retryTimer === undefined) this.#wait(this.#delay(lane));
		this.#sync();
	}

	/** Lets the new stream take over, once it has started all that the old one carries. */
	#promote(): void {
		const lane = this.#next;
		if (!lane?.openedAt) return;
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
			const source = lane.openedAt ? 'stream' : 'request';
			this.#owner.report({ source, message, channelId, status, fatal, error });
			if (fatal) {
				this.refuse(channels, message, { code: status, fatal });
				return;
			}
			why = message;
			// The old stream may be the one too many.
			if (status === 429 && replaces) this.#dropCurrent();
			else {
				this.#notBefore = Date.now() + retryAfterMs;
				delay = Math.max(retryAfterMs, this.#delay(lane));
			}
		} else {
			// Cut for its age or by a deploy. One that is of no use may do so once.
			const early = !lane.productive && Date.now() - lane.openedAt < USEFUL_MS;
			if (early && this.#endedEarly) delay = this.#delay(lane);
			this.#endedEarly = early;
		}
		const lost = channels.filter((channel) => !this.#current?.carried.has(channel));
		if (this.#next) delay = 0;
		else if (this.#options?.reconnect === false && !replaces) {
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
		const held = [...this.#held.values()].flat();
		const wanted = this.#wanted;
		this.#held.clear();
		this.#heldFrom = undefined;
		for (const frame of held) {
			if (wanted.has(frame.channel)) this.#owner.state(frame.channel).receive(frame, false);
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
		const options = this.#options?.reconnect || {};
		const { stableMs = 60_000 } = options;
		if (Date.now() - lane.openedAt >= stableMs) this.#backoff.reset();
		return this.#backoff.next(options);
	}

	#wait(ms: number): void {
		this.#hurry();
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
