import { RealtimeError } from '../protocol/errors.js';
import { decodeMessage, type StreamTopics, type UpstreamMessage } from './message.js';
import { unref } from './node.js';
import { firstPiece, MAX_FRAME_BYTES } from './pieces.js';
import { openSocket, type Socket } from './socket.js';
import type { TokenClient, UpstreamTopic } from './token.js';

/** What a session tells the supervisor that opened it. */
export interface SessionEvents {
	message(session: Session, message: UpstreamMessage): void;
	/** The server asks to reconnect; this session still delivers. */
	closing(session: Session): void;
	closed(session: Session, reason: string): void;
	/** A frame was refused. */
	dropped(): void;
}

/** Silence, in milliseconds, after which a socket is taken for dead; Inngest pings every 15 s. */
const SILENCE_MS = 45_000;

/** How long, in milliseconds, the server may take to confirm a subscription. */
const BARRIER_TIMEOUT_MS = 10_000;

/** One upstream socket and the topics that the server has confirmed on it. Ended by `terminate`. */
export class Session {
	/** Confirmed topics, by channel. */
	readonly confirmed = new Map<string, Set<string>>();
	/** Data streams that started here and have not ended. */
	readonly streams: StreamTopics = new Map();
	readonly openedAt = Date.now();
	closed = false;
	/** The server has asked to reconnect; it ignores what is sent, but still delivers. */
	closing = false;
	readonly #client: TokenClient;
	readonly #events: SessionEvents;
	readonly #end = new AbortController();
	#socket: Socket | undefined;
	#envId: string | null = null;
	#lastSeenMs = Date.now();
	#silence: ReturnType<typeof setInterval> | undefined;

	private constructor(client: TokenClient, events: SessionEvents) {
		this.#client = client;
		this.#events = events;
	}

	/**
	 * Opens a socket with its first topics and waits until they are confirmed.
	 *
	 * @throws {RealtimeError} `TOKEN` or `UPSTREAM`.
	 */
	static async open(
		client: TokenClient,
		topics: readonly UpstreamTopic[],
		events: SessionEvents,
		signal: AbortSignal
	): Promise<Session> {
		const session = new Session(client, events);
		const token = await client.request(topics, signal);
		session.#envId = token.envId;
		session.#socket = await openSocket(
			await client.socketUrl(token.jwt),
			{
				message: (frame) => session.#receive(frame),
				ping: () => (session.#lastSeenMs = Date.now()),
				binary: () => events.dropped(),
				close: (reason) => session.#closed(reason)
			},
			signal
		);
		if (session.#socket.seesPings) session.#watchSilence();
		try {
			await session.#confirm(topics);
		} catch (error) {
			session.terminate();
			throw error;
		}
		return session;
	}

	has(channel: string, topic: string): boolean {
		return this.confirmed.get(channel)?.has(topic) ?? false;
	}

	/**
	 * Adds topics and waits until the server has taken them.
	 *
	 * @throws {RealtimeError} `TOKEN`, or `UPSTREAM` when the socket ended meanwhile.
	 */
	async subscribe(topics: readonly UpstreamTopic[]): Promise<void> {
		const { jwt } = await this.#client.request(topics, this.#end.signal);
		this.#send({ kind: 'sub', data: jwt });
		await this.#confirm(topics);
	}

	/** Drops topics. Where the environment is unknown the server keeps them, and they are ignored here. */
	unsubscribe(topics: readonly UpstreamTopic[]): void {
		for (let rest = topics; rest.length > 0;) {
			const piece = firstPiece(rest, MAX_FRAME_BYTES);
			rest = rest.slice(piece.length);
			for (const { channel, name } of piece) {
				const names = this.confirmed.get(channel);
				names?.delete(name);
				if (names?.size === 0) this.confirmed.delete(channel);
			}
			if (this.#envId === null) continue;
			const data = piece.map((topic) => ({ ...topic, kind: 'run', env_id: this.#envId }));
			this.#send({ kind: 'unsub', data });
		}
	}

	/**
	 * Resolves when the server has handled everything sent before.
	 *
	 * @throws {RealtimeError} `UPSTREAM` when the socket ended first; one that does not answer is ended.
	 */
	async barrier(): Promise<void> {
		const { signal } = this.#end;
		let timer: ReturnType<typeof setTimeout> | undefined;
		await new Promise<void>((resolve, reject) => {
			const ended = (): void =>
				reject(new RealtimeError('UPSTREAM', 'The socket to Inngest realtime was lost.'));
			if (this.closed) return ended();
			signal.addEventListener('abort', ended, { once: true });
			timer = unref(
				setTimeout(() => {
					this.terminate(`no answer for ${BARRIER_TIMEOUT_MS / 1000} s`);
				}, BARRIER_TIMEOUT_MS)
			);
			void this.#socket?.barrier().then(() => {
				signal.removeEventListener('abort', ended);
				resolve();
			});
		}).finally(() => clearTimeout(timer));
	}

	terminate(reason = 'ended'): void {
		this.#socket?.terminate();
		this.#closed(reason);
	}

	async #confirm(topics: readonly UpstreamTopic[]): Promise<void> {
		await this.barrier();
		if (this.closing) {
			throw new RealtimeError('UPSTREAM', 'Inngest is shutting down; it will be reconnected to.');
		}
		for (const { channel, name } of topics) {
			const names = this.confirmed.get(channel);
			if (names) names.add(name);
			else this.confirmed.set(channel, new Set([name]));
		}
	}

	#send(frame: { kind: 'sub' | 'unsub'; data: unknown }): void {
		// A send on a socket that is closing throws; what was lost is told by its close event.
		if (!this.closed) this.#socket?.send(JSON.stringify(frame));
	}

	#receive(frame: string): void {
		if (this.closed) return;
		this.#lastSeenMs = Date.now();
		const message = decodeMessage(frame, this.streams);
		if (message === 'closing') {
			this.closing = true;
			this.#events.closing(this);
		} else if (message === 'refused') this.#events.dropped();
		else if (message !== 'quiet') this.#events.message(this, message);
	}

	#watchSilence(): void {
		this.#silence = unref(
			setInterval(() => {
				if (Date.now() - this.#lastSeenMs < SILENCE_MS) return;
				this.terminate(`silent for ${SILENCE_MS / 1000} s`);
			}, SILENCE_MS / 9)
		);
	}

	#closed(reason: string): void {
		if (this.closed) return;
		this.closed = true;
		clearInterval(this.#silence);
		this.#end.abort();
		this.#events.closed(this, reason);
	}
}
