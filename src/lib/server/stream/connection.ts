import { jitterMs } from '../../protocol/backoff.js';
import { encodeComment, encodeRetry } from '../../protocol/frame.js';
import { KEEPALIVE_MS } from '../../protocol/constants.js';
import type { StreamEnd } from '../metrics/endpointMeters.js';
import type { LogEntry } from '../hub/entry.js';
import type { Failure } from '../failure/failure.js';
import { unref } from '../runtime/runtime.js';
import type { Wheel, WheelEntry } from '../runtime/wheel.js';
import { ResponseBody } from './body.js';

/** One channel of a connection. */
export interface ConnectionChannel {
	/** Its name. */
	readonly channel: string;
	/** The topics that may be read. */
	readonly topics: ReadonlySet<string>;
	/** Who its reader is among the members of the channel. */
	readonly memberId: string | undefined;
	/** Sends the channel's health, to show that the stream is alive. */
	tick(nowMs: number): void;
	/** Sends a message to this reader only, if it may read the topic. @returns whether it may. */
	send(entry: LogEntry): boolean;
	/** Whether it is not read any more. */
	readonly hasEnded: boolean;
	/** Whether `recheck` can ask `authorize`; otherwise only a new request can. */
	readonly canRecheck: boolean;
	/** Checks whether the channel may still be read. */
	recheck(): void;
	/** Ends the channel for a reason that the reader is told. */
	fail(failure: Failure): void;
	/** Releases everything. */
	end(): void;
	/** Runs code of another request that acts on this channel. */
	run(work: () => void): void;
}

/** Settings and callbacks for the connections of an endpoint. */
export interface ConnectionSettings {
	readonly wheel: Wheel;
	/** Milliseconds between two health ticks of each channel; `false` for none. */
	readonly intervalMs: number | false;
	/** Most bytes that may wait for a reader; in addition, one piece may wait that is larger by itself. */
	readonly maxBufferedBytes: number;
	/** Lifetime of a response in milliseconds; `false` for no limit. */
	readonly maxLifetimeMs: number | false;
	/** Milliseconds between two checks of a channel's right to be read; `false` for none. */
	readonly recheckMs: number | false;
	/** Delay after which a plain `EventSource` reconnects, in milliseconds. */
	readonly retryMs: number;
	/** The body is read for the first time; nothing was taken before. */
	started(connection: Connection): void;
	/** Its channels have changed. */
	changed(connection: Connection): void;
	/** A connection that had started has ended. */
	ended(connection: Connection, reason: StreamEnd, lifetimeMs: number): void;
	/** Messages were given to a reader. */
	delivered(): void;
	/** Anything was given to a reader. */
	written(bytes: number): void;
	/** A reader that did not keep up was closed. */
	slow(connection: Connection): void;
	/** What is limited now, in words for people. */
	limitation(): string | undefined;
}

/** One request, as its connection sees it. */
export interface ConnectionRequest {
	/** A name for the stream that nobody can guess. */
	readonly name: string;
	/** Whether it named a single channel. Health events then carry its cursor, too. */
	readonly isSingle: boolean;
	/** Whether it came from a plain `EventSource`. */
	readonly isPlain: boolean;
	/** The identity of the reader, if the app gave one. */
	readonly identity: { readonly id: string; readonly [attribute: string]: unknown } | null;
	/** The key that its streams are counted by. */
	readonly key: string | undefined;
	/** The key that its rates are counted by. */
	readonly sender: string | undefined;
	/** Destroys the socket of the response, if the platform gives access to it. */
	readonly destroySocket: (() => void) | undefined;
	/** Runs work in this request. */
	readonly run: (work: () => void) => void;
	/** Called once a connection that had started has ended. */
	readonly ended?: () => void;
	/** Starts its channels. */
	open: ((connection: Connection) => void) | undefined;
}

const KEEPALIVE = encodeComment('');

/** How long, in milliseconds, a reader may take to read the rest of a stream that has ended. */
const FAREWELL_MS = 1_000;

/** Bytes that may wait for the reader before no more messages are replayed. */
const PAGE_BYTES = 64 * 1024;

/** More waiting bytes than this mean that a reader does not keep up. */
const BEHIND_BYTES = 4 * 1024;

/** Bytes of frames other than messages that each channel may send, even if the budget is smaller. */
const CHANNEL_BYTES = 4 * 1024;

/**
 * One SSE response: its channels, the bytes that may wait for its reader, its heartbeats and its end. A
 * reader that stalls is closed and comes back with its cursors. It never delays another. Owned by the
 * response's reader, ended by either side.
 */
export class Connection implements WheelEntry {
	readonly request: ConnectionRequest;
	dueStep: number | undefined;
	readonly #settings: ConnectionSettings;
	readonly #channels = new Set<ConnectionChannel>();
	readonly #body: ResponseBody;
	#heldBytes = 0;
	/** Sizes of the waiting pieces, in the body or before it, that are free or larger than the whole budget. */
	#oversized = { written: 0, held: 0 };
	#started = false;
	#startedMs = 0;
	#ended = false;
	/** Channels that are still being authorized. */
	#expected = 0;
	/** Bytes of frames other than messages that all channels together may send. */
	#ownBytes = 0;
	#nextTickMs = Infinity;
	#nextRecheckMs = Infinity;
	#endMs = Infinity;
	#whenDrained: (() => void)[] = [];

	constructor(settings: ConnectionSettings, request: ConnectionRequest) {
		this.#settings = settings;
		this.request = request;
		this.#body = new ResponseBody({
			start: () => this.#start(),
			drained: () => this.#tellDrained(),
			cancel: () => this.#finish('left')
		});
	}

	get intervalMs(): number | false {
		return this.#settings.intervalMs;
	}

	/** Whether a page of replay waits for the reader, so that the next one has to wait in its log. */
	get hasPage(): boolean {
		const pageBytes = Math.min(PAGE_BYTES, this.#settings.maxBufferedBytes / 4);
		return this.#body.bytes + this.#heldBytes >= pageBytes;
	}

	/** Whether the reader has taken everything. */
	get hasRoom(): boolean {
		return this.#ended || (this.#body.isDrained && !this.hasPage);
	}

	/** Whether the reader takes less than it is sent. */
	get isBehind(): boolean {
		return this.#body.bytes + this.#heldBytes > BEHIND_BYTES;
	}

	/** What is limited now, in words for people. */
	get limitation(): string | undefined {
		return this.#settings.limitation();
	}

	/** Channels that have started and not ended. */
	get channels(): readonly ConnectionChannel[] {
		return [...this.#channels];
	}

	get ended(): boolean {
		return this.#ended;
	}

	/** The response's body. Nothing is held before it is read. */
	get body(): ReadableStream<Uint8Array> {
		return this.#body.stream;
	}

	/** Announces channels that will start, so that the stream does not end before. */
	expect(count: number): void {
		this.#expected += count;
		this.#ownBytes += count * CHANNEL_BYTES;
	}

	/** One of the expected channels has started. */
	add(channel: ConnectionChannel): void {
		this.#expected--;
		this.#channels.add(channel);
		this.#settings.changed(this);
	}

	/** One of the expected channels will not start: `frame` says why. */
	refuse(frame: Uint8Array): void {
		this.#expected--;
		this.push(frame);
		this.#endIfEmpty();
	}

	/** A channel has ended; the stream ends with its last one. */
	remove(channel: ConnectionChannel): void {
		this.#channels.delete(channel);
		this.#endIfEmpty();
		if (!this.#ended) this.#settings.changed(this);
	}

	/** Writes messages. */
	deliver(chunk: Uint8Array): void {
		if (this.#ended) return;
		this.#settings.delivered();
		this.#write(chunk, 0);
	}

	/** Writes anything else. */
	push(chunk: Uint8Array): void {
		if (!this.#ended) this.#write(chunk, this.#ownBytes);
	}

	/** Writes frames that do not count against the budget, to a reader that has room. */
	pushFreely(chunk: Uint8Array): void {
		if (!this.#ended) this.#write(chunk, this.#ownBytes, true);
	}

	/** Counts bytes that start or stop waiting elsewhere for this reader: one piece per call. */
	hold(bytes: number): void {
		this.#heldBytes += bytes;
		const oversized = this.#oversized;
		if (-bytes === oversized.held) oversized.held = 0;
		if (bytes > this.#settings.maxBufferedBytes) oversized.held ||= bytes;
		if (bytes > 0) this.#checkBudget(0);
		else if (this.#body.isDrained) this.#tellDrained();
	}

	/** Writes a comment, which proxies see and readers do not. */
	keepAlive(): void {
		this.push(KEEPALIVE);
	}

	/** Resolves when the reader may have room again, or is gone. */
	drained(): Promise<void> {
		if (this.hasRoom) return Promise.resolve();
		return new Promise((resolve) => this.#whenDrained.push(resolve));
	}

	/** Runs work in the request of this connection, the only one that may end it. */
	run(work: () => void): void {
		this.request.run(work);
	}

	/**
	 * Ends the stream without a last event, so that the reader comes back at once. Waiting bytes can still be
	 * read for a second.
	 */
	end(reason: StreamEnd = 'server'): void {
		if (this.#ended) return;
		this.#body.end();
		this.#finish(reason);
		if (!this.#body.isRead) this.#expectFarewell();
	}

	wake(nowMs: number): void {
		if (nowMs >= this.#endMs) return this.end('lifetime');
		if (nowMs >= this.#nextRecheckMs) {
			this.#nextRecheckMs = nowMs + jitterMs(this.#settings.recheckMs as number);
			for (const channel of this.#channels) channel.recheck();
		}
		if (nowMs >= this.#nextTickMs) {
			this.#nextTickMs = nowMs + jitterMs(this.#tickMs);
			if (this.intervalMs === false) this.keepAlive();
			else for (const channel of [...this.#channels]) channel.tick(Date.now());
		}
		if (!this.#ended) this.#sleep(nowMs);
	}

	get #tickMs(): number {
		return this.intervalMs === false ? KEEPALIVE_MS : this.intervalMs;
	}

	#start(): void {
		this.#started = true;
		const { maxLifetimeMs, recheckMs, retryMs } = this.#settings;
		const nowMs = (this.#startedMs = performance.now());
		this.#nextTickMs = nowMs + jitterMs(this.#tickMs);
		if (recheckMs !== false) this.#nextRecheckMs = nowMs + jitterMs(recheckMs);
		if (maxLifetimeMs !== false) this.#endMs = nowMs + jitterMs(maxLifetimeMs);
		this.#sleep(nowMs);
		if (this.request.isPlain) this.push(encodeRetry(retryMs));
		this.#settings.started(this);
		const { open } = this.request;
		// Do not keep the request's data for the lifetime of its stream.
		this.request.open = undefined;
		open?.(this);
	}

	#sleep(nowMs: number): void {
		const next = Math.min(this.#nextTickMs, this.#nextRecheckMs, this.#endMs);
		this.#settings.wheel.add(this, Math.max(0, next - nowMs));
	}

	#write(chunk: Uint8Array, extraBytes: number, isFree = false): void {
		this.#settings.written(chunk.length);
		const before = this.#body.bytes;
		this.#body.push(chunk);
		if (this.#body.bytes === before) return;
		if (before === 0) this.#oversized.written = 0;
		const isLarge = isFree || chunk.length > this.#settings.maxBufferedBytes;
		if (isLarge) this.#oversized.written ||= chunk.length;
		this.#checkBudget(extraBytes);
	}

	/**
	 * Closes a reader if too much is waiting for it. A single piece that is larger than the budget is let
	 * through: otherwise the reader would fail at it again after each resume.
	 */
	#checkBudget(extraBytes: number): void {
		const { written, held } = this.#oversized;
		const waiting = this.#body.bytes - written + this.#heldBytes - held;
		if (this.#ended || waiting <= this.#settings.maxBufferedBytes + extraBytes) return;
		this.#settings.slow(this);
		const { destroySocket } = this.request;
		this.#finish('slow');
		this.#body.error(new Error('The reader of this stream did not keep up; it can resume.'));
		// A server that waits for a stalled socket to drain notices nothing else.
		destroySocket?.();
	}

	/** A stalled reader does not notice the end, and the server would wait for it. */
	#expectFarewell(): void {
		const timer = unref(
			setTimeout(() => {
				if (this.#body.isRead) return;
				this.#body.error(new Error('The reader of this stream did not read its end.'));
				this.request.destroySocket?.();
			}, FAREWELL_MS)
		);
		this.#whenDrained.push(() => clearTimeout(timer));
	}

	#tellDrained(): void {
		if (this.#whenDrained.length === 0) return;
		for (const resolve of this.#whenDrained.splice(0)) resolve();
	}

	#endIfEmpty(): void {
		if (this.#expected === 0 && this.#channels.size === 0) this.end('ended');
	}

	/** Releases everything; idempotent. */
	#finish(reason: StreamEnd): void {
		if (this.#ended) return;
		this.#ended = true;
		this.#settings.wheel.delete(this);
		for (const channel of this.#channels) channel.end();
		this.#channels.clear();
		this.#tellDrained();
		if (this.#started) {
			this.#settings.ended(this, reason, performance.now() - this.#startedMs);
		}
	}
}
