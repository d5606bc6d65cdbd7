import { RealtimeError } from '../../protocol/errors.js';
import { backoffMs } from '../../protocol/backoff.js';
import type { RealtimeSource, SourceListener, SourceMessage, SourceState } from '../hub/source.js';
import { detached } from '../runtime/context.js';
import { afterInput, unref } from '../runtime/runtime.js';
import { Overlap, type Repeats } from './overlap.js';
import { firstPiece, fitsFrame, MAX_SENT_BYTES, MAX_URL_TOKEN_BYTES } from './pieces.js';
import { Session, type SessionEvents } from './session.js';
import type { TokenClient, UpstreamTopic } from './token.js';

const MIN_DELAY_MS = 250;
const MAX_DELAY_MS = 30_000;

/** More topics than fit into one frame. */
const MAX_PIECE_TOPICS = 256;

/** A socket that lived this long, in milliseconds, ends the count of failed attempts. */
const STABLE_MS = 10_000;

/**
 * The supervised socket to Inngest: holds what is wanted, and brings one session after another into
 * agreement with it. Everything happens in one loop, so that a topic added and dropped in any order
 * ends as it was wanted last. Owned by a hub, ended by `close`.
 */
export class Upstream implements RealtimeSource {
	readonly name = 'inngest';
	readonly #client: TokenClient;
	readonly #onDrop: () => void;
	readonly #wanted = new Map<string, Set<SourceListener>>();
	/** Channels of which the socket may carry other topics than are wanted. */
	readonly #pending = new Set<string>();
	readonly #live = new Set<SourceListener>();
	#session: Session | undefined;
	/** While one socket replaces another. */
	#overlap: Overlap | undefined;
	/** Deliveries of the socket that was replaced last. */
	#repeats: Repeats | undefined;
	/** Sockets that were replaced and are read to the end of the data streams that began on them. */
	readonly #tails = new Map<Session, Set<string>>();
	#attempt: AbortController | undefined;
	#failures = 0;
	#retryAtMs = 0;
	#retryTimer: ReturnType<typeof setTimeout> | undefined;
	#scheduled = false;
	#again = false;
	#closed = false;

	constructor(client: TokenClient, onDrop: () => void) {
		this.#client = client;
		this.#onDrop = onDrop;
	}

	get state(): SourceState {
		if (this.#closed) return 'closed';
		if (this.#session) return 'open';
		if (this.#attempt) return 'connecting';
		return this.#wanted.size === 0 ? 'idle' : 'waiting';
	}

	/** Sockets that are read now: more than one while one replaces another. */
	get sockets(): number {
		return (this.#session ? 1 : 0) + (this.#overlap ? 1 : 0) + this.#tails.size;
	}

	/** Adds a listener. @returns a function that takes it away. */
	listen(listener: SourceListener): () => void {
		const { channel, topics } = listener;
		if (!topics.every((name) => fitsFrame({ channel, name }))) {
			const text = `The name of channel "${channel.slice(0, 100)}…" or of one of its topics is too long for Inngest.`;
			detached(() => afterInput(() => listener.failed(new RealtimeError('UPSTREAM', text))));
			return () => {};
		}
		const listeners = this.#wanted.get(listener.channel);
		if (listeners) listeners.add(listener);
		else this.#wanted.set(listener.channel, new Set([listener]));
		this.#pending.add(listener.channel);
		this.#reconcile();
		return () => {
			this.#live.delete(listener);
			const rest = this.#wanted.get(listener.channel);
			if (!rest?.delete(listener)) return;
			if (rest.size === 0) this.#wanted.delete(listener.channel);
			this.#pending.add(listener.channel);
			if (this.#wanted.size > 0) this.#reconcile();
			else detached(() => afterInput(() => this.#endIfIdle()));
		};
	}

	close(): void {
		this.#closed = true;
		this.#wanted.clear();
		this.#live.clear();
		this.#endIfIdle();
	}

	/** Brings the session into agreement with what is wanted: soon, and one run at a time. */
	#reconcile(): void {
		this.#again = true;
		if (this.#scheduled) return;
		this.#scheduled = true;
		detached(() => afterInput(() => void this.#run()));
	}

	async #run(): Promise<void> {
		while (this.#again) {
			this.#again = false;
			try {
				while (await this.#step());
			} catch (error) {
				this.#backOff(error instanceof Error ? error : new Error(String(error)));
			}
		}
		this.#scheduled = false;
	}

	/** One thing towards agreement. @returns whether there may be more to do. */
	async #step(): Promise<boolean> {
		if (this.#wanted.size === 0) return false;
		if (!this.#session) {
			if (this.#mustWait()) return false;
			await this.#connect();
			return true;
		}
		const session = this.#session;
		const missing = this.#settle(session);
		if (missing.length > 0) {
			if (this.#mustWait()) return false;
			try {
				await session.subscribe(firstPiece(missing, MAX_SENT_BYTES));
				if (this.#isStable(session)) this.#failures = 0;
			} catch (error) {
				// The end of a session is handled where it is told.
				if (session === this.#session) {
					if (this.#overlap) this.#abandon(session);
					throw error;
				}
			}
			return true;
		}
		if (this.#overlap) void this.#handOver(this.#overlap, session);
		return false;
	}

	async #connect(): Promise<void> {
		const attempt = (this.#attempt = new AbortController());
		this.#overlap?.begin(this.#repeats);
		try {
			const topics = firstPiece(this.#settle(), MAX_URL_TOKEN_BYTES);
			const opened = await Session.open(this.#client, topics, this.#events, attempt.signal);
			// The last listener may have left, or the socket closed, as the answer came.
			if (attempt.signal.aborted || opened.closed) {
				throw new RealtimeError('UPSTREAM', 'The socket to Inngest realtime closed at once.');
			}
			this.#session = opened;
		} catch (error) {
			this.#overlap?.abandon();
			if (!attempt.signal.aborted) throw error;
		} finally {
			this.#attempt = undefined;
		}
	}

	/**
	 * Drops topics that nobody wants, and announces those who have all of theirs.
	 *
	 * @returns topics to be added; not all, where there are many.
	 */
	#settle(session?: Session): UpstreamTopic[] {
		const missing: UpstreamTopic[] = [];
		const surplus: UpstreamTopic[] = [];
		for (const channel of this.#pending) {
			if (missing.length >= MAX_PIECE_TOPICS) break;
			const wanted = wantedTopics(this.#wanted.get(channel));
			const carried = session?.confirmed.get(channel);
			for (const name of carried ?? []) if (!wanted.has(name)) surplus.push({ channel, name });
			const absent = [...wanted].filter((name) => !carried?.has(name));
			for (const name of absent) missing.push({ channel, name });
			if (absent.length > 0) continue;
			this.#pending.delete(channel);
			this.#announceLive(channel);
		}
		if (surplus.length > 0) session?.unsubscribe(surplus);
		return missing;
	}

	readonly #events: SessionEvents = {
		message: (session, message) => {
			const streams = this.#tails.get(session);
			if (streams) this.#readTail(session, streams, message);
			else if (this.#repeats?.take(message)) return;
			else if (session === this.#overlap?.old) {
				this.#overlap.delivered(message);
				this.#dispatch(message);
			} else if (!this.#overlap?.holds(message)) this.#dispatch(message);
		},
		closing: (session) => {
			if (session !== this.#session) return;
			if (this.#overlap) this.#abandon(session);
			else {
				this.#loseSession();
				this.#overlap = new Overlap(session);
			}
			// The old socket still delivers, so that a server that closes each new one can be spared.
			if (this.#isStable(session)) this.#retryAtMs = 0;
			else this.#delay();
			this.#loseUnserved(new RealtimeError('UPSTREAM', 'Inngest realtime is shutting down.'));
			this.#reconcile();
		},
		closed: (session, error) => {
			const streams = this.#tails.get(session);
			if (streams) {
				this.#tails.delete(session);
				this.#announceGap(new Set([...session.streams.values()].map(({ channel }) => channel)));
			} else if (session === this.#overlap?.old) {
				this.#switch(this.#overlap);
				this.#loseUnserved(error);
				// It may have had messages from before the new socket's subscription.
				this.#announceGap();
				this.#reconcile();
			} else if (session === this.#session) {
				this.#loseSession();
				if (this.#isStable(session)) this.#failures = 0;
				this.#overlap?.abandon();
				this.#backOff(error);
			}
		},
		dropped: () => this.#onDrop()
	};

	/** A new socket that has not taken over yet is let go; the old one still delivers. */
	#abandon(session: Session): void {
		this.#loseSession();
		session.terminate();
		this.#overlap?.abandon();
	}

	#loseSession(): void {
		this.#session = undefined;
		for (const channel of this.#wanted.keys()) this.#pending.add(channel);
	}

	/** Switches once everything that the old socket has to say is here: that is when it answers. */
	async #handOver(overlap: Overlap, session: Session): Promise<void> {
		if (overlap.successor === session) return;
		overlap.successor = session;
		// One that ends instead of answering is handled where that is told.
		await overlap.old.barrier().catch(() => {});
		if (this.#overlap !== overlap || overlap.successor !== session) return;
		this.#switch(overlap);
		this.#announceGap(overlap.doubtful);
	}

	#switch(overlap: Overlap): void {
		const { messages, repeats } = overlap.end();
		const { old } = overlap;
		this.#overlap = undefined;
		if (repeats) this.#repeats = repeats;
		if (!old.closed && old.streams.size > 0) this.#tails.set(old, new Set(old.streams.keys()));
		else old.terminate();
		for (const message of messages) this.#dispatch(message);
	}

	#readTail(session: Session, streams: Set<string>, message: SourceMessage): void {
		const { streamId, kind } = message;
		if (streamId === undefined || !streams.has(streamId)) return;
		this.#dispatch(message);
		if (kind === 'datastream-end') streams.delete(streamId);
		if (streams.size > 0) return;
		this.#tails.delete(session);
		session.terminate();
	}

	#dispatch(message: SourceMessage): void {
		const listeners = this.#wanted.get(message.channel);
		if (!listeners) return;
		for (const listener of listeners) {
			if (this.#live.has(listener) && listener.topics.includes(message.topic)) {
				listener.message(message);
			}
		}
	}

	#announceLive(channel: string): void {
		for (const listener of this.#wanted.get(channel) ?? []) {
			if (this.#live.has(listener)) continue;
			this.#live.add(listener);
			listener.live();
		}
	}

	#isConfirmed({ channel, topics }: SourceListener): boolean {
		return topics.every((topic) => this.#session?.has(channel, topic));
	}

	/** Whether a listener still gets its messages, by the session or the one before it. */
	#isServed(listener: SourceListener): boolean {
		const { channel, topics } = listener;
		const old = this.#overlap?.old;
		return this.#isConfirmed(listener) || topics.every((topic) => old?.has(channel, topic));
	}

	/** Tells those who are live, of these channels or of all. */
	#announceGap(channels?: ReadonlySet<string>): void {
		for (const listener of [...this.#live]) {
			if (!channels || channels.has(listener.channel)) listener.gap();
		}
	}

	#loseUnserved(error: Error): void {
		for (const listener of [...this.#live]) {
			if (this.#isServed(listener)) continue;
			this.#live.delete(listener);
			listener.lost(error);
		}
	}

	#isStable(session: Session): boolean {
		return Date.now() - session.openedAt >= STABLE_MS;
	}

	#delay(): void {
		this.#retryAtMs = Date.now() + backoffMs(this.#failures++, MIN_DELAY_MS, MAX_DELAY_MS);
	}

	#backOff(error: Error): void {
		if (this.#closed) return;
		this.#delay();
		this.#reconcile();
		for (const channel of [...this.#pending]) {
			for (const listener of this.#wanted.get(channel) ?? []) {
				if (!this.#live.has(listener)) listener.failed(error);
			}
		}
		this.#loseUnserved(error);
	}

	/** Whether the next attempt is not due yet; it is then made when it is. */
	#mustWait(): boolean {
		const waitMs = this.#retryAtMs - Date.now();
		// More than the longest delay is left only where the clock was set back.
		if (waitMs <= 0 || waitMs > MAX_DELAY_MS) return false;
		clearTimeout(this.#retryTimer);
		this.#retryTimer = unref(setTimeout(() => this.#reconcile(), waitMs + 1));
		return true;
	}

	#endIfIdle(): void {
		if (this.#wanted.size > 0) return;
		this.#attempt?.abort();
		clearTimeout(this.#retryTimer);
		const sessions = [this.#session, this.#overlap?.old, ...this.#tails.keys()];
		this.#session = this.#overlap = this.#repeats = undefined;
		this.#tails.clear();
		this.#pending.clear();
		for (const session of sessions) session?.terminate();
	}
}

function wantedTopics(listeners: ReadonlySet<SourceListener> | undefined): Set<string> {
	const topics = new Set<string>();
	for (const listener of listeners ?? []) for (const topic of listener.topics) topics.add(topic);
	return topics;
}
