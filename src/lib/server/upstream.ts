import { backoffMs } from './backoff.js';
import type { UpstreamMessage } from './message.js';
import { afterInput, detached, unref } from './node.js';
import { Overlap } from './overlap.js';
import { firstPiece, MAX_FRAME_BYTES, MAX_URL_TOKEN_BYTES } from './pieces.js';
import { Session, type SessionEvents } from './session.js';
import type { TokenClient, UpstreamTopic } from './token.js';

/** Somebody who listens to topics of one channel. */
export interface UpstreamListener {
	readonly channel: string;
	readonly topics: readonly string[];
	/** All topics are confirmed; called again after each `lost`. */
	live(): void;
	/** Messages do not arrive any more; `live` follows when they do again. */
	lost(error: Error): void;
	/** An attempt to bring a listener live failed; more follow. */
	failed(error: Error): void;
	/** Still live, but messages may be missing. */
	gap(): void;
	message(message: UpstreamMessage): void;
}

export type UpstreamState = 'idle' | 'connecting' | 'open' | 'waiting' | 'closed';

const MIN_DELAY_MS = 250;
const MAX_DELAY_MS = 30_000;

/** A session that lived this long, in milliseconds, ends the count of failed attempts. */
const STABLE_MS = 10_000;

/** How long, in milliseconds, repeats of the old socket are looked for after a switch. */
const REPEAT_MS = 5_000;

/**
 * The supervised socket to Inngest: holds what is wanted, and brings one session after another into
 * agreement with it. Everything happens in one loop, so that a topic added and dropped in any order
 * ends as it was wanted last. Owned by a hub, ended by `close`.
 */
export class Upstream {
	readonly #client: TokenClient;
	readonly #onDrop: () => void;
	readonly #wanted = new Map<string, Set<UpstreamListener>>();
	readonly #live = new Set<UpstreamListener>();
	#session: Session | undefined;
	#overlap: Overlap | undefined;
	#attempt: AbortController | undefined;
	#failures = 0;
	#retryAtMs = 0;
	#retryTimer: ReturnType<typeof setTimeout> | undefined;
	#repeatTimer: ReturnType<typeof setTimeout> | undefined;
	#scheduled = false;
	#again = false;
	#closed = false;

	constructor(client: TokenClient, onDrop: () => void) {
		this.#client = client;
		this.#onDrop = onDrop;
	}

	get state(): UpstreamState {
		if (this.#closed) return 'closed';
		if (this.#session) return 'open';
		if (this.#attempt) return 'connecting';
		return this.#wanted.size === 0 ? 'idle' : 'waiting';
	}

	/** Sockets open now; two while one replaces the other. */
	get sockets(): number {
		return (this.#session ? 1 : 0) + (this.#overlap ? 1 : 0);
	}

	/** Adds a listener. @returns a function that takes it away. */
	listen(listener: UpstreamListener): () => void {
		const listeners = this.#wanted.get(listener.channel);
		if (listeners) listeners.add(listener);
		else this.#wanted.set(listener.channel, new Set([listener]));
		this.#reconcile();
		return () => {
			this.#live.delete(listener);
			const rest = this.#wanted.get(listener.channel);
			if (!rest?.delete(listener)) return;
			if (rest.size === 0) this.#wanted.delete(listener.channel);
			if (this.#wanted.size === 0) this.#attempt?.abort();
			this.#reconcile();
		};
	}

	close(): void {
		this.#closed = true;
		this.#wanted.clear();
		this.#live.clear();
		this.#attempt?.abort();
		this.#dropSockets();
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
		if (this.#wanted.size === 0) {
			this.#dropSockets();
			return false;
		}
		if (!this.#session) {
			if (this.#mustWait()) return false;
			await this.#connect();
			return true;
		}
		const session = this.#session;
		const surplus = this.#surplus(session);
		if (surplus.length > 0) session.unsubscribe(surplus);
		const missing = this.#missing(session);
		if (missing.length > 0) {
			if (this.#mustWait()) return false;
			try {
				await session.subscribe(firstPiece(missing, MAX_FRAME_BYTES));
				this.#forgiveFailures(session);
			} catch (error) {
				// The end of a session is handled where it is told.
				if (session === this.#session) throw error;
			}
			this.#announceLive();
			return true;
		}
		if (this.#overlap && !this.#overlap.switched) {
			// Everything the old socket has to say is here once it answers; then the new one takes over.
			await this.#overlap.old.barrier().catch(() => {});
			this.#switch();
		}
		return false;
	}

	async #connect(): Promise<void> {
		const attempt = (this.#attempt = new AbortController());
		try {
			const topics = firstPiece(this.#missing(), MAX_URL_TOKEN_BYTES);
			this.#overlap?.restart();
			const opened = await Session.open(this.#client, topics, this.#events, attempt.signal);
			// The socket may have closed, or the last listener left, while the answer was on its way.
			if (opened.closed) throw new Error('The socket to Inngest realtime closed at once.');
			this.#session = opened;
		} catch (error) {
			if (!attempt.signal.aborted) throw error;
		} finally {
			this.#attempt = undefined;
		}
		if (this.#closed) this.#dropSockets();
		else this.#announceLive();
	}

	readonly #events: SessionEvents = {
		message: (session, message) => {
			const overlap = this.#overlap;
			if (overlap) {
				const isOld = session === overlap.old;
				const deliver = isOld ? overlap.takeOld(message) : overlap.takeNew(message);
				if (deliver) this.#dispatch(message);
				if (isOld && overlap.switched && session.streams.size === 0) session.terminate();
			} else this.#dispatch(message);
		},
		closing: (session) => {
			if (session !== this.#session) return;
			if (this.#overlap) {
				this.#switch();
				this.#endOverlap();
			}
			this.#session = undefined;
			this.#overlap = new Overlap(session);
			this.#loseUnserved(new Error('Inngest is shutting down.'));
			this.#retryAtMs = 0;
			this.#reconcile();
		},
		closed: (session, reason) => {
			if (session === this.#overlap?.old) this.#oldClosed(session, reason);
			else if (session === this.#session) this.#sessionClosed(session, reason);
		},
		dropped: () => this.#onDrop()
	};

	#dispatch(message: UpstreamMessage): void {
		const listeners = this.#wanted.get(message.channel);
		if (!listeners) return;
		for (const listener of listeners) {
			if (listener.topics.includes(message.topic)) listener.message(message);
		}
	}

	#sessionClosed(session: Session, reason: string): void {
		this.#session = undefined;
		this.#forgiveFailures(session);
		// Before the switch the old socket still delivers, and goes on as if there had been no new one.
		if (this.#overlap?.switched) this.#endOverlap();
		this.#backOff(new Error(`The socket to Inngest realtime was lost: ${reason}.`));
	}

	#oldClosed(old: Session, reason: string): void {
		const overlap = this.#overlap!;
		if (overlap.switched) {
			// Streams that were read from the old socket are cut.
			const cut = new Set([...old.streams.values()].map(({ channel }) => channel));
			this.#overlap = undefined;
			for (const channel of cut) this.#wanted.get(channel)?.forEach((listener) => listener.gap());
			return;
		}
		this.#switch();
		this.#overlap = undefined;
		this.#loseUnserved(new Error(`The socket to Inngest realtime was lost: ${reason}.`));
		// It may have had messages from before the new socket's subscription.
		for (const listener of [...this.#live]) listener.gap();
		this.#reconcile();
	}

	/** Reads from the new socket from here on; the old one stays until its data streams have ended. */
	#switch(): void {
		const overlap = this.#overlap;
		if (!overlap || overlap.switched) return;
		for (const message of overlap.switch()) this.#dispatch(message);
		if (overlap.old.closed) return;
		clearTimeout(this.#repeatTimer);
		this.#repeatTimer = unref(
			setTimeout(() => {
				if (this.#overlap === overlap && overlap.old.streams.size === 0) this.#endOverlap();
			}, REPEAT_MS)
		);
	}

	#endOverlap(): void {
		this.#overlap?.old.terminate();
		this.#overlap = undefined;
	}

	#announceLive(): void {
		for (const listeners of this.#wanted.values()) {
			for (const listener of listeners) {
				if (this.#live.has(listener) || !this.#isConfirmed(listener)) continue;
				this.#live.add(listener);
				listener.live();
			}
		}
	}

	#isConfirmed({ channel, topics }: UpstreamListener): boolean {
		return topics.every((topic) => this.#session?.has(channel, topic));
	}

	/** Whether a listener still gets its messages, by the session or the one before it. */
	#isServed(listener: UpstreamListener): boolean {
		const { channel, topics } = listener;
		const old = this.#overlap?.switched ? undefined : this.#overlap?.old;
		return this.#isConfirmed(listener) || topics.every((topic) => old?.has(channel, topic));
	}

	#loseUnserved(error: Error): void {
		for (const listener of [...this.#live]) {
			if (this.#isServed(listener)) continue;
			this.#live.delete(listener);
			listener.lost(error);
		}
	}

	#forgiveFailures(session: Session): void {
		if (Date.now() - session.openedAt >= STABLE_MS) this.#failures = 0;
	}

	#backOff(error: Error): void {
		if (this.#closed) return;
		this.#retryAtMs = Date.now() + backoffMs(this.#failures++, MIN_DELAY_MS, MAX_DELAY_MS);
		this.#reconcile();
		const waiting = [...this.#wanted.values()].flatMap((listeners) => [...listeners]);
		for (const listener of waiting) if (!this.#live.has(listener)) listener.failed(error);
		this.#loseUnserved(error);
	}

	/** Whether the next attempt is not due yet; it is then made when it is. */
	#mustWait(): boolean {
		const waitMs = this.#retryAtMs - Date.now();
		if (waitMs <= 0) return false;
		clearTimeout(this.#retryTimer);
		this.#retryTimer = unref(setTimeout(() => this.#reconcile(), waitMs + 1));
		return true;
	}

	#missing(session?: Session): UpstreamTopic[] {
		const missing: UpstreamTopic[] = [];
		for (const [channel, listeners] of this.#wanted) {
			for (const name of wantedTopics(listeners)) {
				if (!session?.has(channel, name)) missing.push({ channel, name });
			}
		}
		return missing;
	}

	#surplus(session: Session): UpstreamTopic[] {
		const surplus: UpstreamTopic[] = [];
		for (const [channel, names] of session.confirmed) {
			const wanted = wantedTopics(this.#wanted.get(channel));
			for (const name of names) if (!wanted.has(name)) surplus.push({ channel, name });
		}
		return surplus;
	}

	#dropSockets(): void {
		clearTimeout(this.#retryTimer);
		clearTimeout(this.#repeatTimer);
		const session = this.#session;
		this.#session = undefined;
		session?.terminate();
		this.#endOverlap();
	}
}

function wantedTopics(listeners: ReadonlySet<UpstreamListener> | undefined): Set<string> {
	const topics = new Set<string>();
	for (const listener of listeners ?? []) for (const topic of listener.topics) topics.add(topic);
	return topics;
}
