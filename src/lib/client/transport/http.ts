import { MAX_TIMER_MS } from '../../protocol/constants.js';
import type { HealthPayload } from '../../protocol/health.js';
import { isFatalStatus } from '../../protocol/status.js';
import { identify, type Subscriptions } from '../subscriptions.js';
import type { StreamEvent } from './events.js';
import { readFrame, TOPIC } from './frames.js';
import { watchPage, type Page } from './page.js';
import type { StreamFailure } from './request.js';
import { RetryPolicy } from './retry.js';
import { Stream } from './stream.js';
import type { ChannelSink, Transport, TransportOptions, TransportOwner } from './transport.js';

/**
 * A replacement without headers after this time, in milliseconds, may be waiting for the connection that the
 * old stream holds. A replacement that has not started every channel by then takes over anyway.
 */
const HANDOVER_MS = 2_000;

/**
 * Keeps one stream open for the wanted channels: reconnects, and replaces the stream when the wanted channels
 * change. The new stream opens before the old one closes. Both deliver meanwhile, and duplicates are detected
 * by their cursors. A channel whose own subscription changes leaves the old stream at once; the new one
 * replays it from its cursor. It owns its streams and timers and listens to the page until `close`.
 */
export class HttpTransport implements Transport {
	readonly #owner: TransportOwner;
	readonly #page: Page;
	readonly #retry = new RetryPolicy();
	#options: TransportOptions | undefined;
	/**
	 * The wanted channels, the endpoint, and whether it is enabled. After a change, refused channels are tried
	 * again.
	 */
	#asked = '';
	#current: Stream | undefined;
	/** The stream that will replace `#current`, or become the first. */
	#next: Stream | undefined;
	/** Channels not to try until something changes, which starts a new set. */
	#refused = new Set<string>();
	#retryTimer: ReturnType<typeof setTimeout> | undefined;
	#handoverTimer: ReturnType<typeof setTimeout> | undefined;
	/** How often, in milliseconds, the server sends something; known once it has told. */
	#intervalMs = Infinity;

	/** @param watch Watches the page, if there is one. */
	constructor(owner: TransportOwner, watch = watchPage) {
		this.#owner = owner;
		this.#page = watch({
			onChange: () => this.#wake(),
			// After the network changed, an open stream may be dead without noticing.
			onOnline: () => {
				this.#outdate();
				this.#wake();
			}
		});
	}

	update(options: TransportOptions): void {
		const { endpoint, enabled = true, subscriptions } = options;
		const asked = `${endpoint} ${enabled} ${identify(...subscriptions.values())}`;
		if (asked !== this.#asked) {
			this.#asked = asked;
			this.#refused = new Set();
			this.#retry.shorten();
		}
		this.#options = options;
		this.#retry.delays = options.reconnect || {};
		this.#page.pauseOnHidden(options.pauseOnHidden);
		this.#sync();
	}

	reconnect(): void {
		this.#refused = new Set();
		this.#retry.reset();
		this.#outdate();
		this.#sync();
	}

	refuse(channels: readonly string[], detail: string, more?: Partial<HealthPayload>): void {
		this.#tell(channels, 'degraded', detail, more);
		for (const channel of channels) this.#refused.add(channel);
		this.#retry.shorten();
		this.#sync();
	}

	close(): void {
		this.#page.close();
		this.#options = undefined;
		this.#stop();
	}

	/** The channels that are wanted and not refused. */
	get #wanted(): Subscriptions {
		const wanted = new Map(this.#options?.subscriptions);
		for (const channel of this.#refused) wanted.delete(channel);
		return wanted;
	}

	/** Compares the open streams with the wanted channels, and acts. */
	#sync(): void {
		clearTimeout(this.#retryTimer);
		const isAway = this.#page.isAway();
		// The owner may want something else by then.
		this.#owner.hidden(isAway);
		const options = this.#options;
		if (!options) return;
		const { endpoint, enabled = true } = options;
		const wanted = this.#wanted;
		if (!enabled || isAway || !wanted.size) {
			this.#stop();
			const why = enabled ? 'the page is hidden' : 'it is not enabled';
			this.#tell(wanted.keys(), 'connecting', `Paused: ${why}.`);
			return;
		}
		this.#current?.leave(wanted);
		this.#next?.leave(wanted);
		const newest = this.#next ?? this.#current;
		if (newest?.serves(endpoint, wanted)) return;
		// There is one replacement at a time; the next sync comes when it ends.
		if (this.#next && this.#current) return;
		const waitMs = this.#retry.remainingMs;
		if (waitMs <= 0) this.#open({ ...options, subscriptions: wanted });
		else this.#retryTimer = setTimeout(() => this.#sync(), Math.min(waitMs, MAX_TIMER_MS));
	}

	#open(options: TransportOptions): void {
		this.#next?.close();
		clearTimeout(this.#handoverTimer);
		const stream: Stream = new Stream(
			{
				...options,
				refused: this.#refused,
				cursor: (channel) => this.#owner.state(channel).cursor,
				intervalMs: this.#intervalMs
			},
			{
				onOpen: () => this.#promote(),
				onEvent: (event) => this.#receive(stream, event),
				onRetry: (ms) => (this.#retry.retryMs = ms),
				onEnd: (failure) => this.#end(stream, failure)
			}
		);
		this.#next = stream;
		this.#retry.started();
		const old = this.#current;
		for (const [channel, { cursor, subscription }] of stream.carried) {
			// The old stream carries it meanwhile, if its subscription stays the same and duplicates can be detected.
			const before = old?.carried.get(channel);
			const goesOn = before && identify(subscription) === identify(before.subscription);
			if (cursor && goesOn) continue;
			old?.carried.delete(channel);
			this.#owner.state(channel).tell('connecting');
		}
		if (!old?.carried.size) this.#detach(old);
		this.#handoverTimer = setTimeout(() => {
			this.#dropCurrent();
			this.#promote();
		}, HANDOVER_MS);
		stream.start();
	}

	/** Replaces the open stream, which continues until the new one has started. */
	#outdate(): void {
		if (this.#current) this.#current.outdated = true;
		else this.#detach(this.#next);
	}

	/** Does pending work now: timers of a machine that slept come late. */
	#wake(): void {
		this.#current?.checkSilence();
		this.#retry.skip();
		this.#sync();
	}

	#receive(stream: Stream, event: StreamEvent): void {
		let frame;
		try {
			frame = readFrame(event, stream.only);
		} catch (error) {
			this.#receiveUnreadable(stream, event, error);
			return;
		}
		const { channel } = frame;
		const carried = stream.carried.get(channel);
		if (!carried) return;
		const state = this.#owner.state(channel);
		const health = frame.event === 'health' ? frame.data : undefined;
		if (health?.intervalMs) stream.expect((this.#intervalMs = health.intervalMs));
		const isOver = health?.status === 'degraded';
		if (health?.status !== 'connecting' && !carried.settled) {
			carried.settled = true;
			// The new stream could not replay everything. Frames that the old one still delivers are older.
			const isGap = stream === this.#next && frame.event === 'resync';
			if (isGap) this.#current?.carried.delete(channel);
		}
		if (isOver) this.#current?.carried.delete(channel);
		if (health) carried.health = health;
		else if (frame.event === 'message') stream.productive = true;
		// The old stream reports a channel's health until it is replaced.
		const speaks = stream === this.#current || !this.#current?.carried.has(channel);
		// Another kind of endpoint sends no health; we only know that messages arrive.
		if (!carried.health) state.tell('connected');
		state.receive(frame, speaks);
		// A handler may have closed the stream.
		if (isOver && !stream.isClosed) this.#channelEnded(stream, health);
		this.#promote();
	}

	/**
	 * An unreadable message belongs to the topic that it names. If it names none, it belongs to the only channel
	 * of its stream; if there are several, we do not know which.
	 */
	#receiveUnreadable(stream: Stream, { event, data }: StreamEvent, error: unknown): void {
		const { channel = stream.only, topic } = TOPIC.exec(data)?.groups ?? {};
		if (event === 'message' && channel !== undefined && stream.carried.has(channel)) {
			this.#owner.state(channel).receiveUnreadable(data, error, topic);
		}
		this.#owner.report({
			source: 'parse',
			message: `Unreadable event: ${data.slice(0, 200)}`,
			channelId: channel,
			error
		});
	}

	/** The server sent `degraded`: that channel ends, others of the stream go on. */
	#channelEnded(stream: Stream, { channel, detail, code, stage, fatal }: HealthPayload): void {
		stream.carried.delete(channel);
		this.#owner.report({
			source: 'stream',
			message: detail ?? 'The server ended the channel.',
			channelId: channel,
			status: code,
			stage,
			fatal
		});
		if (!stream.carried.size) this.#detach(stream);
		if (fatal || this.#options?.reconnect === false) stream.refused.add(channel);
		else if (this.#retry.remainingMs <= 0) this.#retry.failed(stream);
		this.#sync();
	}

	/** Lets the new stream take over once it has started every channel that the old one carries. */
	#promote(): void {
		const stream = this.#next;
		if (!stream?.isOpen) return;
		for (const channel of this.#current?.carried.keys() ?? []) {
			if (stream.carried.get(channel)?.settled === false) return;
		}
		clearTimeout(this.#handoverTimer);
		this.#current?.close();
		this.#current = stream;
		this.#next = undefined;
		for (const [channel, { health }] of stream.carried) {
			if (health) this.#owner.state(channel).health = health;
		}
		this.#sync();
	}

	/** A stream ended: the server finished it, or it failed. */
	#end(stream: Stream, failure?: StreamFailure): void {
		const channels = [...stream.carried.keys()];
		const replaces = stream === this.#next && this.#current !== undefined;
		this.#detach(stream);
		const why = failure?.message ?? 'The server ended the stream.';
		if (failure) {
			const { status = 0, retryAfterMs } = failure;
			// A response that is not a stream will stay so, whatever its status.
			const fatal = status > 0 && (status < 400 || isFatalStatus(status));
			this.#report(stream, failure, fatal);
			if (fatal && stream.refused === this.#refused) {
				this.refuse(channels, why, { code: status, fatal });
				return;
			}
			// The old stream may be the one that exceeds the limit.
			if (status === 429 && replaces) {
				this.#dropCurrent();
				this.#retry.skip();
			} else this.#retry.failed(stream, retryAfterMs);
		} else {
			this.#retry.ended(stream);
		}
		const lost = channels.filter((channel) => !this.#current?.carried.has(channel));
		if (this.#next) {
			// The replacement is the next attempt.
			this.#retry.skip();
		} else if (
			this.#options?.reconnect === false &&
			!replaces &&
			stream.refused === this.#refused
		) {
			this.refuse(lost, `${why} Reconnecting is off.`);
			return;
		}
		const waitMs = this.#retry.remainingMs;
		const when = waitMs > 0 ? `in ${(waitMs / 1000).toFixed(1)} s` : 'now';
		this.#tell(lost, 'connecting', `${why} Trying again ${when}.`);
		this.#promote();
		this.#sync();
	}

	#report(stream: Stream, { retryAfterMs: _, ...failure }: StreamFailure, fatal: boolean): void {
		const source = stream.isOpen ? 'stream' : 'request';
		const report = (): void =>
			this.#owner.report({ ...failure, source, channelId: stream.only, fatal });
		// A page that is being left loses its streams; that is not a failure.
		if (failure.status) report();
		else this.#page.unlessLeft(report);
	}

	/** Takes a stream out of service. */
	#detach(stream: Stream | undefined): void {
		stream?.close();
		if (stream === this.#current) this.#current = undefined;
		if (stream === this.#next) {
			this.#next = undefined;
			clearTimeout(this.#handoverTimer);
		}
	}

	/** Closes the old stream before the new one has started. */
	#dropCurrent(): void {
		const stream = this.#current;
		this.#detach(stream);
		this.#tell(stream?.carried.keys() ?? [], 'connecting');
	}

	#stop(): void {
		clearTimeout(this.#retryTimer);
		this.#detach(this.#current);
		this.#detach(this.#next);
	}

	#tell(channels: Iterable<string>, ...what: Parameters<ChannelSink['tell']>): void {
		const wanted = this.#wanted;
		for (const channel of channels) {
			if (wanted.has(channel)) this.#owner.state(channel).tell(...what);
		}
	}
}
