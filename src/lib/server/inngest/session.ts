import { RealtimeError } from '../../protocol/errors.js';
import type { SourceMessage } from '../hub/source.js';
import { unref } from '../runtime/runtime.js';
import { decodeMessage, type StreamTopics } from './message.js';
import type { RealtimeUpstreamOptions } from './options.js';
import { openSocket, type Socket } from './socket.js';
import type { TokenClient, UpstreamTopic } from './token.js';

/** How sessions are opened. */
export interface SessionOptions {
	readonly client: TokenClient;
	readonly upstream: RealtimeUpstreamOptions;
}

/** What a session tells its owner. */
export interface SessionEvents {
	message(session: Session, message: SourceMessage): void;
	/** The server asks for another socket; this session still delivers. */
	closing(session: Session, error: Error): void;
	closed(session: Session, error: Error): void;
	/** A frame was refused. */
	dropped(): void;
}

/** Silence, in milliseconds, after which a socket counts as dead; Inngest pings every 15 s. */
const SILENCE_MS = 45_000;

/** How long, in milliseconds, the server may take to confirm a subscription. */
const BARRIER_TIMEOUT_MS = 10_000;

/**
 * A server that starts to close ignores subscriptions but answers pings, and tells its sockets one after
 * another. A subscription that was confirmed less than this many milliseconds before that may have been
 * ignored.
 */
const DOUBT_MS = 5_000;

/** One upstream socket and the topics that the server has confirmed on it. Ended by `terminate`. */
export class Session {
	/** Confirmed topics, by channel. */
	readonly confirmed = new Map<string, Set<string>>();
	/** Data streams that started here and have not ended. */
	readonly streams: StreamTopics = new Map();
	readonly #client: TokenClient;
	readonly #events: SessionEvents;
	/** Aborted with the reason when the socket is gone. */
	readonly #ended = new AbortController();
	/** Aborted with the reason when the server takes no more topics: it is closing, or gone. */
	readonly #full = new AbortController();
	#socket: Socket | undefined;
	#envId: string | null = null;
	#openedAtMs = performance.now();
	#lastSeenMs = this.#openedAtMs;
	#silence: ReturnType<typeof setInterval> | undefined;
	/** Topics that were added recently. */
	#added: { atMs: number; topics: readonly UpstreamTopic[] }[] = [];

	private constructor({ client }: SessionOptions, events: SessionEvents) {
		this.#client = client;
		this.#events = events;
	}

	/**
	 * Opens a socket with its first topics and waits until they are confirmed.
	 *
	 * @throws {RealtimeError} `TOKEN` or `UPSTREAM`.
	 */
	static async open(
		options: SessionOptions,
		topics: readonly UpstreamTopic[],
		events: SessionEvents,
		signal: AbortSignal
	): Promise<Session> {
		const { client, upstream } = options;
		const session = new Session(options, events);
		const token = await client.request(topics, signal);
		session.#envId = token.envId;
		session.#socket = await openSocket(
			await client.socketUrl(token.jwt),
			{
				message: (frame) => session.#receive(frame),
				ping: () => (session.#lastSeenMs = performance.now()),
				binary: () => events.dropped(),
				close: (reason) => session.#close(reason)
			},
			{ ...upstream, signal }
		);
		session.#openedAtMs = session.#lastSeenMs = performance.now();
		if (session.#socket.seesPings) session.#watchSilence();
		try {
			await session.#confirm(topics);
		} catch (error) {
			session.terminate();
			throw error;
		}
		return session;
	}

	/** Milliseconds since the socket opened. */
	get ageMs(): number {
		return performance.now() - this.#openedAtMs;
	}

	get closed(): boolean {
		return this.#ended.signal.aborted;
	}

	has(channel: string, topic: string): boolean {
		return this.confirmed.get(channel)?.has(topic) ?? false;
	}

	/**
	 * Adds topics and waits until the server has taken them.
	 *
	 * @throws {RealtimeError} `TOKEN`, or `UPSTREAM` when the socket ended or is closing.
	 */
	async subscribe(topics: readonly UpstreamTopic[]): Promise<void> {
		const { jwt } = await this.#client.request(topics, this.#full.signal);
		this.#send({ kind: 'sub', data: jwt });
		await this.#confirm(topics);
		const nowMs = performance.now();
		this.#added = this.#added.filter(({ atMs }) => nowMs - atMs < DOUBT_MS);
		this.#added.push({ atMs: nowMs, topics });
	}

	/** Channels with topics that a closing server may have ignored, because they were added recently. */
	doubtfulChannels(): Set<string> {
		const nowMs = performance.now();
		const recent = this.#added.filter(({ atMs }) => nowMs - atMs < DOUBT_MS);
		return new Set(recent.flatMap(({ topics }) => topics.map(({ channel }) => channel)));
	}

	/**
	 * Drops topics, as many as fit into one frame. If the environment is unknown, the server keeps them, and
	 * their messages are ignored here.
	 */
	unsubscribe(topics: readonly UpstreamTopic[]): void {
		const dropped = new Set(topics.map(({ channel, name }) => `${channel}\n${name}`));
		for (const [id, { channel, topic }] of this.streams) {
			if (dropped.has(`${channel}\n${topic}`)) this.streams.delete(id);
		}
		for (const { channel, name } of topics) {
			const names = this.confirmed.get(channel);
			if (names?.delete(name) && names.size === 0) this.confirmed.delete(channel);
		}
		if (this.#envId === null) return;
		const data = topics.map((topic) => ({ ...topic, kind: 'run', env_id: this.#envId }));
		this.#send({ kind: 'unsub', data });
	}

	/**
	 * Resolves when the server has handled everything sent before.
	 *
	 * @throws {RealtimeError} `UPSTREAM` when the socket ends first. A socket that does not answer is ended.
	 */
	barrier(): Promise<void> {
		return this.#barrier(this.#ended.signal);
	}

	terminate(reason = 'ended'): void {
		this.#socket?.terminate();
		this.#close(reason);
	}

	#barrier(signal: AbortSignal): Promise<void> {
		return new Promise((resolve, reject) => {
			const timer = unref(
				setTimeout(
					() => this.terminate(`no answer for ${BARRIER_TIMEOUT_MS / 1000} s`),
					BARRIER_TIMEOUT_MS
				)
			);
			const settle = (settled: () => void): void => {
				clearTimeout(timer);
				signal.removeEventListener('abort', aborted);
				settled();
			};
			const aborted = (): void => settle(() => reject(signal.reason as Error));
			if (signal.aborted) return aborted();
			signal.addEventListener('abort', aborted);
			void this.#socket!.barrier().then(() => settle(resolve));
		});
	}

	async #confirm(topics: readonly UpstreamTopic[]): Promise<void> {
		await this.#barrier(this.#full.signal);
		for (const { channel, name } of topics) {
			const names = this.confirmed.get(channel);
			if (names) names.add(name);
			else this.confirmed.set(channel, new Set([name]));
		}
	}

	#send(frame: { kind: 'sub' | 'unsub'; data: unknown }): void {
		if (!this.closed) this.#socket?.send(JSON.stringify(frame));
	}

	#receive(frame: string): void {
		if (this.closed) return;
		this.#lastSeenMs = performance.now();
		const message = decodeMessage(frame, this.streams);
		if (message === 'closing') {
			const error = new RealtimeError('UPSTREAM', 'Inngest realtime is shutting down.');
			this.#full.abort(error);
			this.#events.closing(this, error);
		} else if (message === 'refused') this.#events.dropped();
		else if (message !== 'quiet') this.#events.message(this, message);
	}

	#watchSilence(): void {
		this.#silence = unref(
			setInterval(() => {
				if (performance.now() - this.#lastSeenMs < SILENCE_MS) return;
				this.terminate(`silent for ${SILENCE_MS / 1000} s`);
			}, SILENCE_MS / 9)
		);
	}

	#close(reason: string): void {
		clearInterval(this.#silence);
		if (this.closed) return;
		const error = new RealtimeError(
			'UPSTREAM',
			`The socket to Inngest realtime was lost: ${reason}.`
		);
		this.#ended.abort(error);
		this.#full.abort(error);
		this.#events.closed(this, error);
	}
}
