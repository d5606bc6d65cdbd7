import type { EventSourceMessage } from 'eventsource-parser';
import { compareCursors } from '../protocol/cursor.js';
import type { HealthPayload } from '../protocol/health.js';
import { Backoff } from './backoff.js';
import { readFrame, type Frame } from './frames.js';
import { Lane } from './lane.js';
import { Page, type PageEnvironment } from './page.js';
import { readStream, type StreamEnd } from './stream.js';
import { signature } from './subscriptions.js';
import type {
	RealtimeClientFailureContext,
	RealtimeReconnectOptions,
	RealtimeResolvedSubscription
} from './types.js';

/** A replacement without headers by then may be waiting for the connection that the old one holds. */
const HEADERS_MS = 2_000;
/** A request without headers by then has failed. */
const CONNECT_MS = 30_000;
/** A replacement takes over by then, even if a channel is still connecting. */
const HANDOVER_MS = 10_000;
/** Replacements start at least this far apart, so that rapid changes become few. */
const COALESCE_MS = 250;

/** Why a connection holds no stream. */
export type PauseReason = 'disabled' | 'hidden';

/** Who a connection works for. */
export interface ConnectionSink {
	/** Where to resume a channel. */
	cursor(channel: string): string | undefined;
	/** A frame came. `speaks`: its stream is the one that tells of the channel's health. */
	deliver(frame: Frame, speaks: boolean): void;
	/** The connection itself knows how a channel fares. */
	health(health: HealthPayload): void;
	/** An event that could not be read, on a stream of these channels. */
	unreadable(channels: string[], raw: string, error: Error): void;
	failure(failure: RealtimeClientFailureContext): void;
	paused(reason: PauseReason | null): void;
}

/** What a connection shall do. */
export interface ConnectionOptions {
	endpoint: string;
	/** By channel. */
	subscriptions: ReadonlyMap<string, RealtimeResolvedSubscription>;
	enabled: boolean;
	reconnect: RealtimeReconnectOptions | false;
	pauseOnHidden: number | false;
	fetch?: typeof globalThis.fetch;
}

/**
 * Keeps one stream open for the wanted channels: reconnects, and replaces the stream when what is
 * wanted changes. The new one opens before the old one closes; both deliver meanwhile, and repeats are
 * told by their cursors. Owns its streams and timers and listens to the page, all until `close`.
 */
export class RealtimeConnection {
	readonly #sink: ConnectionSink;
	readonly #page: Page;
	readonly #backoff = new Backoff();
	#options: ConnectionOptions | undefined;
	#wanted: ReadonlyMap<string, RealtimeResolvedSubscription> = new Map();
	#key = '';
	#current: Lane | null = null;
	#next: Lane | null = null;
	/** Frames of channels whose subscription changes, kept back until the new stream has them or fails. */
	readonly #held = new Map<string, Frame[]>();
	/** The stream that the held frames came by. */
	#heldFrom: Lane | null = null;
	/** Channels not to try until something changes. */
	readonly #refused = new Set<string>();
	#timer: ReturnType<typeof setTimeout> | undefined;
	/** `Retry-After` as a time; nothing may try before. */
	#notBefore = 0;
	/** Ends what the newest stream has time for. */
	#deadline: ReturnType<typeof setTimeout> | undefined;
	#startedAt = 0;
	#endedEarly = false;

	constructor(sink: ConnectionSink, environment?: PageEnvironment) {
		this.#sink = sink;
		this.#page = new Page(
			{
				onChange: () => this.#sync(),
				onWake: () => this.#wake(),
				onOnline: () => {
					this.#wake();
					// Where the network changed, the open stream may be dead and not know it.
					if (this.#current && !this.#next && this.#timer === undefined) this.#open();
				}
			},
			environment
		);
	}

	/** Makes what is open follow what is wanted. */
	update(options: ConnectionOptions): void {
		this.#options = options;
		this.#wanted = options.subscriptions;
		this.#backoff.options = options.reconnect || {};
		this.#page.pauseOnHidden = options.pauseOnHidden;
		const key = [options.endpoint, ...[...this.#wanted.values()].map(signature).sort()].join();
		if (key !== this.#key) {
			this.#key = key;
			this.#refused.clear();
			this.#hurry();
		}
		this.#sync();
	}

	/** Tries everything again now, also what was refused. */
	reconnect(): void {
		this.#refused.clear();
		this.#backoff.reset();
		this.#notBefore = 0;
		this.#hurry();
		if (this.#current && !this.#next) this.#open();
		else this.#sync();
	}

	/** Leaves a channel alone until its subscription changes or `reconnect` is called. */
	finish(channel: string): void {
		this.#refused.add(channel);
		this.#sync();
	}

	close(): void {
		this.#page.close();
		this.#options = undefined;
		this.#stop();
	}

	/** Compares what is open with what is wanted, and acts. */
	#sync(): void {
		const options = this.#options;
		if (!options) return;
		const paused = !options.enabled ? 'disabled' : this.#page.away ? 'hidden' : null;
		this.#sink.paused(paused);
		const wanted = this.#wantedNow();
		if (paused || !wanted.length) {
			this.#stop();
			if (paused) for (const { channelId } of wanted) this.#connecting(channelId, PAUSED[paused]);
		} else if (!this.#next && this.#timer === undefined) {
			if (this.#current?.serves(options.endpoint, wanted)) return;
			const early = this.#current ? this.#startedAt + COALESCE_MS - Date.now() : 0;
			if (early > 0) this.#wait(early);
			else this.#open();
		}
	}

	#wantedNow(): RealtimeResolvedSubscription[] {
		return [...this.#wanted.values()].filter(({ channelId }) => !this.#refused.has(channelId));
	}

	#open(): void {
		const options = this.#options;
		const wanted = this.#wantedNow();
		if (!options || !wanted.length) return;
		const lane = new Lane(options.endpoint, wanted, this.#sink.cursor, () =>
			this.#end(lane, { type: 'failed', error: new Error('The server fell silent.') })
		);
		const old = this.#current;
		for (const { channelId } of old ? wanted : []) {
			const before = old?.get(channelId);
			const now = lane.get(channelId);
			if (!before || !now) continue;
			// Without a cursor nothing could tell a repeat; nothing was promised yet either.
			if (!now.cursor || this.#held.has(channelId)) old?.leave(channelId);
			else if (before.key !== now.key) {
				this.#held.set(channelId, []);
				this.#heldFrom = old;
			}
		}
		if (old && !wanted.some(({ channelId }) => old.get(channelId))) this.#dropCurrent();
		this.#next = lane;
		this.#startedAt = Date.now();
		this.#deadline = setTimeout(() => this.#late(lane), HEADERS_MS);
		void readStream({
			fetch: options.fetch ?? globalThis.fetch,
			endpoint: options.endpoint,
			body: lane.body,
			signal: lane.signal,
			onOpen: () => this.#opened(lane),
			onEvent: (event) => this.#receive(lane, event),
			onRetry: (ms) => (this.#backoff.retryMs = ms),
			onActivity: () => lane.touch()
		}).then((end) => this.#end(lane, end));
	}

	#late(lane: Lane): void {
		this.#dropCurrent();
		if (!lane.serves(this.#options?.endpoint ?? '', this.#wantedNow())) {
			this.#detach(lane);
			this.#sync();
			return;
		}
		this.#deadline = setTimeout(
			() => this.#end(lane, { type: 'failed', error: new Error('The server does not answer.') }),
			CONNECT_MS - HEADERS_MS
		);
	}

	#opened(lane: Lane): void {
		if (lane.closed) return;
		lane.openedAt = Date.now();
		clearTimeout(this.#deadline);
		this.#deadline = setTimeout(() => this.#promote(), HANDOVER_MS);
		this.#promoteIfReady();
	}

	#receive(lane: Lane, message: EventSourceMessage): void {
		if (lane.closed) return;
		const { channels } = lane;
		let frame: Frame | null;
		try {
			frame = readFrame(message, channels.length === 1 ? channels[0] : undefined);
		} catch (error) {
			this.#sink.unreadable(channels, message.data, error as Error);
			return;
		}
		if (!frame || !lane.get(frame.channel) || !this.#wanted.has(frame.channel)) return;
		const { channel } = frame;
		if (frame.event === 'health' && frame.data.intervalMs) lane.expect(frame.data.intervalMs);
		if (lane === this.#heldFrom && this.#held.has(channel)) {
			this.#held.get(channel)?.push(frame);
			return;
		}
		const status = frame.event === 'health' ? frame.data.status : null;
		if (status !== 'connecting') this.#settle(lane, frame);
		if (frame.event === 'health') lane.health.set(channel, frame.data);
		else if (frame.event === 'message') {
			lane.productive = true;
			if (!lane.health.has(channel)) {
				// An endpoint of another make: it sends no health, and messages flow.
				const health: HealthPayload = { ok: true, status: 'connected', ts: Date.now(), channel };
				lane.health.set(channel, health);
				this.#sink.health(health);
			}
		}
		this.#sink.deliver(frame, this.#speaks(lane, channel));
		if (status === 'degraded') this.#channelEnded(lane, channel);
		this.#promoteIfReady();
	}

	/** Whether a stream tells of a channel's health: the old one until it is replaced. */
	#speaks(lane: Lane, channel: string): boolean {
		return lane === this.#current || !this.#current?.get(channel);
	}

	/** The first that a stream has of a channel decides about frames held back for it. */
	#settle(lane: Lane, frame: Frame): void {
		const { channel, cursor } = frame;
		if (lane === this.#heldFrom || lane.settled.has(channel)) return;
		lane.settled.add(channel);
		const held = this.#held.get(channel);
		this.#held.delete(channel);
		const failed = frame.event === 'health' && frame.data.status === 'degraded';
		const resynced = frame.event === 'resync';
		if (lane === this.#next && (resynced || (held && !failed))) this.#current?.leave(channel);
		// What is not delivered here is replayed by the new stream.
		for (const one of held ?? []) {
			const after = one.cursor && cursor ? compareCursors(one.cursor, cursor) : null;
			if (failed || (resynced && (after === null || after <= 0))) this.#sink.deliver(one, false);
		}
	}

	/** The server sent `degraded`: that channel ends, others of the stream go on. */
	#channelEnded(lane: Lane, channel: string): void {
		const {
			detail = 'The server ended the channel.',
			code,
			stage,
			fatal
		} = lane.health.get(channel) as HealthPayload;
		lane.leave(channel);
		if (fatal || this.#options?.reconnect === false) this.#refused.add(channel);
		this.#sink.failure({
			source: 'stream',
			message: detail,
			channelId: channel,
			status: code,
			stage,
			fatal
		});
		if (!lane.channels.length) this.#detach(lane);
		if (!this.#refused.has(channel)) this.#wait(this.#delay(lane));
		this.#sync();
	}

	#promoteIfReady(): void {
		const lane = this.#next;
		const pending = this.#current?.channels.some(
			(channel) => lane?.get(channel) && !lane.settled.has(channel)
		);
		if (lane?.openedAt && !pending) this.#promote();
	}

	/** The new stream takes over. */
	#promote(): void {
		clearTimeout(this.#deadline);
		const lane = this.#next;
		const old = this.#current;
		if (!lane) return;
		old?.close();
		this.#current = lane;
		this.#next = null;
		for (const channel of old?.channels ?? []) {
			const health = lane.health.get(channel);
			if (health) this.#sink.health(health);
			else if (lane.get(channel)) this.#connecting(channel);
		}
		this.#sync();
	}

	#end(lane: Lane, end: StreamEnd): void {
		if (lane.closed) return;
		const { channels } = lane;
		const channelId = channels.length === 1 ? channels[0] : undefined;
		const replacing = lane === this.#next && this.#current !== null;
		this.#detach(lane);
		if (end.type === 'refused') {
			const { status, message, retryAfterMs = 0 } = end;
			const fatal = status < 500 && status !== 408 && status !== 429;
			this.#sink.failure({ source: 'request', message, channelId, status, fatal });
			if (fatal) {
				for (const channel of channels) {
					this.#degrade(channel, { code: status, detail: message, fatal });
				}
				this.#sync();
			} else if (status === 429 && replacing) {
				// The old stream may be the one too many.
				this.#dropCurrent();
				this.#retry(channels, message, 0);
			} else {
				this.#notBefore = Date.now() + retryAfterMs;
				this.#retry(channels, message, Math.max(retryAfterMs, this.#delay(lane)));
			}
		} else if (end.type === 'failed') {
			const { error } = end;
			const message = `The realtime connection failed (${error instanceof Error ? error.message : error}).`;
			this.#sink.failure({
				source: lane.openedAt ? 'stream' : 'request',
				message,
				channelId,
				error
			});
			this.#retry(channels, message, this.#delay(lane));
		} else {
			// Cut for its age or by a deploy. One that achieves nothing may do so once.
			const early = !lane.productive && Date.now() - lane.openedAt < this.#backoff.stableMs;
			const delay = early && this.#endedEarly ? this.#delay(lane) : 0;
			this.#endedEarly = early;
			this.#retry(channels, 'The server ended the stream.', delay);
		}
	}

	/** Takes a stream out of service; what was held back for a new one that fails is delivered. */
	#detach(lane: Lane): void {
		lane.close();
		if (lane === this.#next) {
			clearTimeout(this.#deadline);
			this.#next = null;
		}
		if (lane === this.#current) this.#current = null;
		if (lane !== this.#heldFrom) this.#releaseHeld();
	}

	#releaseHeld(): void {
		const held = [...this.#held.values()].flat();
		this.#held.clear();
		this.#heldFrom = null;
		for (const frame of held) this.#sink.deliver(frame, false);
	}

	#dropCurrent(): void {
		const lane = this.#current;
		if (!lane) return;
		lane.close();
		this.#current = null;
		for (const channel of lane.channels) this.#connecting(channel);
	}

	/** Milliseconds until the next attempt after a stream that ended. */
	#delay(lane: Lane): number {
		const { stableMs } = this.#backoff;
		if (lane.openedAt && Date.now() - lane.openedAt >= stableMs) this.#backoff.reset();
		return this.#backoff.next();
	}

	/** Tries lost channels again after a while, and says so. */
	#retry(channels: string[], why: string, delay: number): void {
		const lost = channels.filter((channel) => !this.#current?.get(channel));
		if (this.#options?.reconnect === false && !this.#next) {
			const detail = `${why} Reconnecting is off: call reconnect() of the bus.`;
			for (const channel of lost) this.#degrade(channel, { detail });
		} else {
			const wait = this.#next ? 0 : delay;
			const when = wait ? `in ${(wait / 1000).toFixed(1)} s` : 'now';
			for (const channel of lost) this.#connecting(channel, `${why} Trying again ${when}.`);
			if (wait) this.#wait(wait);
		}
		this.#promoteIfReady();
		this.#sync();
	}

	#wait(ms: number): void {
		clearTimeout(this.#timer);
		this.#timer = setTimeout(() => {
			this.#timer = undefined;
			this.#sync();
		}, ms);
	}

	/** Ends a wait, unless the server asked for it. */
	#hurry(): void {
		if (Date.now() < this.#notBefore) return;
		clearTimeout(this.#timer);
		this.#timer = undefined;
	}

	#wake(): void {
		this.#current?.checkSilence();
		this.#hurry();
		this.#sync();
	}

	#stop(): void {
		clearTimeout(this.#timer);
		clearTimeout(this.#deadline);
		this.#timer = undefined;
		this.#current?.close();
		this.#next?.close();
		this.#current = this.#next = null;
		this.#releaseHeld();
	}

	#connecting(channel: string, detail?: string): void {
		this.#sink.health({ ok: false, status: 'connecting', ts: Date.now(), channel, detail });
	}

	#degrade(channel: string, what: Partial<HealthPayload>): void {
		this.#refused.add(channel);
		this.#sink.health({ ok: false, status: 'degraded', ts: Date.now(), channel, ...what });
	}
}

const PAUSED: Record<PauseReason, string> = {
	disabled: 'Paused: the manager is not enabled.',
	hidden: 'Paused while the page is hidden.'
};
