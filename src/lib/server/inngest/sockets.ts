import { RealtimeError } from '../../protocol/errors.js';
import type { SourceMessage } from '../hub/source.js';
import { Overlap, type Repeats } from './overlap.js';
import { Session, type SessionEvents, type SessionOptions } from './session.js';
import type { UpstreamTopic } from './token.js';

/** What happens on the sockets, in the order in which listeners must learn of it. */
export interface SocketsEvents {
	message(message: SourceMessage): void;
	/** Messages of these channels, or of all, may be missing. */
	gap(channels?: ReadonlySet<string>): void;
	/** The server asked for another socket. There is no current one any more, but an old one still delivers. */
	closing(session: Session, error: Error): void;
	/** The current socket is lost. */
	closed(session: Session, error: Error): void;
	/** The old socket is lost before the current one had all topics, and the current one took over. */
	oldClosed(error: Error): void;
	/** A frame was refused. */
	dropped(): void;
}

/**
 * The sockets that are read now. One is current, and topics are added to it. If the server asked for a new
 * socket, the old one delivers until the current one has all topics. Replaced sockets are read until the data
 * streams that started on them end. Owned by the loop, ended by `end`.
 */
export class Sockets {
	readonly #options: SessionOptions;
	readonly #events: SocketsEvents;
	#current: Session | undefined;
	/** While the current socket replaces an old one. */
	#overlap: Overlap | undefined;
	/** What the most recently replaced socket delivered. */
	#repeats: Repeats | undefined;
	/** Sockets opened so far. */
	opened = 0;
	/** Replaced sockets, with the data streams that they are read for. */
	readonly #tails = new Map<Session, Set<string>>();

	constructor(options: SessionOptions, events: SocketsEvents) {
		this.#options = options;
		this.#events = events;
	}

	get current(): Session | undefined {
		return this.#current;
	}

	/** Sockets that are read now. */
	get count(): number {
		return (this.#current ? 1 : 0) + (this.#overlap ? 1 : 0) + this.#tails.size;
	}

	/**
	 * Opens a socket with its first topics, which becomes the current one.
	 *
	 * @throws {RealtimeError} `TOKEN` or `UPSTREAM`.
	 */
	async open(topics: readonly UpstreamTopic[], signal: AbortSignal): Promise<void> {
		this.#overlap?.begin(this.#repeats);
		try {
			const session = await Session.open(this.#options, topics, this.#sessionEvents, signal);
			// The last listener may have left, or the socket may have closed, when the answer came.
			if (signal.aborted || session.closed) {
				throw new RealtimeError('UPSTREAM', 'The socket to Inngest realtime closed at once.');
			}
			this.#current = session;
			this.opened++;
		} catch (error) {
			this.#overlap?.abandon();
			throw error;
		}
	}

	/** Whether the old socket delivers a topic until the current one takes over. */
	oldCarries(channel: string, topic: string): boolean {
		return this.#overlap?.old.has(channel, topic) ?? false;
	}

	/**
	 * The current socket cannot get all topics. If it has not taken over yet, it is closed, and the old one
	 * still delivers.
	 *
	 * @returns whether it was closed.
	 */
	abandonCurrent(): boolean {
		if (!this.#overlap) return false;
		const session = this.#current;
		this.#current = undefined;
		session?.terminate();
		this.#overlap.abandon();
		return true;
	}

	/**
	 * The current socket has all topics. It takes over once all messages of the old one are here, that is when
	 * the old one has answered a ping.
	 */
	async handOver(): Promise<void> {
		const overlap = this.#overlap;
		const session = this.#current;
		if (!overlap || overlap.successor === session) return;
		overlap.successor = session;
		// An old socket that ends instead of answering is handled in `closed`.
		await overlap.old.barrier().catch(() => {});
		if (this.#overlap !== overlap || overlap.successor !== session) return;
		this.#switch(overlap);
		this.#events.gap(overlap.doubtful);
	}

	end(): void {
		const sessions = [this.#current, this.#overlap?.old, ...this.#tails.keys()];
		this.#current = this.#overlap = this.#repeats = undefined;
		this.#tails.clear();
		for (const session of sessions) session?.terminate();
	}

	readonly #sessionEvents: SessionEvents = {
		message: (session, message) => {
			const streams = this.#tails.get(session);
			if (streams) this.#readTail(session, streams, message);
			else if (this.#repeats?.take(message)) return;
			else if (session === this.#overlap?.old) {
				this.#overlap.delivered(message);
				this.#events.message(message);
			} else if (!this.#overlap?.holds(message)) this.#events.message(message);
		},
		closing: (session, error) => {
			if (session !== this.#current) return;
			if (!this.abandonCurrent()) {
				this.#current = undefined;
				this.#overlap = new Overlap(session);
			}
			this.#events.closing(session, error);
		},
		closed: (session, error) => {
			if (this.#tails.delete(session)) {
				this.#events.gap(new Set([...session.streams.values()].map(({ channel }) => channel)));
			} else if (session === this.#overlap?.old) {
				this.#switch(this.#overlap);
				this.#events.oldClosed(error);
			} else if (session === this.#current) {
				this.#current = undefined;
				this.#overlap?.abandon();
				this.#events.closed(session, error);
			}
		},
		dropped: () => this.#events.dropped()
	};

	#switch(overlap: Overlap): void {
		const { messages, repeats } = overlap.end();
		const { old } = overlap;
		this.#overlap = undefined;
		if (repeats) this.#repeats = repeats;
		if (!old.closed && old.streams.size > 0) this.#tails.set(old, new Set(old.streams.keys()));
		else old.terminate();
		for (const message of messages) this.#events.message(message);
	}

	#readTail(session: Session, streams: Set<string>, message: SourceMessage): void {
		const { streamId, kind } = message;
		if (streamId === undefined || !streams.has(streamId)) return;
		this.#events.message(message);
		if (kind === 'datastream-end') streams.delete(streamId);
		if (streams.size > 0) return;
		this.#tails.delete(session);
		session.terminate();
	}
}
