import { backoffMs } from '../protocol/backoff.js';
import { RealtimeError } from '../protocol/errors.js';
import type { SourceState } from '../server/hub/source.js';
import { openDatabase, type PostgresClient } from './clients/client.js';
import type { Database, Session } from './clients/database.js';
import { explain } from './errors.js';
import { inTime, TimeoutError } from './time.js';

/** First and highest upper bound, in milliseconds, of the pause before the next attempt. */
const MIN_PAUSE_MS = 500;
const MAX_PAUSE_MS = 10_000;

/** How often, in milliseconds, the connection is tested. */
export const HEARTBEAT_MS = 10_000;

/** Longest time, in milliseconds, that the answer to a test may take. */
const MAX_ANSWER_MS = 5_000;

/** Prefix of the notifications that test the connection. */
const ECHO = 'echo ';

const NEVER_HEARD =
	'A notification that was sent through Postgres did not come back. Behind a transaction pooler none does: pass a client that connects directly as `listen`.';
const SILENT = 'The connection to Postgres has fallen silent; it is opened again.';

/** A listener of a channel of notifications. None of its methods may throw. */
export interface LineListener {
	notify(payload: string): void;
	/** Notifications arrive from now on. Called again after each `lost`. */
	live(): void;
	/** Notifications do not arrive any more. */
	lost(error: Error): void;
	/** An attempt to bring the line live failed; more follow. */
	failed(error: Error): void;
}

/** A listener, and whether it knows that the connection is live. */
interface Entry {
	channel: string;
	listener: LineListener;
	isLive: boolean;
}

const lines = new WeakMap<PostgresClient, Line>();

/**
 * The connection of this process for notifications. It is open while anyone listens, and is tested from end
 * to end by a notification that it sends to itself. This detects both a silently dead connection and a pooler
 * that loses subscriptions.
 */
export class Line {
	readonly #database: Database;
	readonly #heartbeatMs: number;
	readonly #entries = new Set<Entry>();
	#state: SourceState = 'idle';
	#failures = 0;
	#wake: (() => void) | undefined;
	#echo: { payload: string; heard(): void } | undefined;
	/** Whether the last thing that happened is a loss or a failure, and which. */
	#trouble: Error | undefined;

	constructor(database: Database, heartbeatMs = HEARTBEAT_MS) {
		this.#database = database;
		this.#heartbeatMs = heartbeatMs;
	}

	/**
	 * The connection for a client; all listeners through that client share it. The first one decides how it is
	 * tested.
	 */
	static of(client: PostgresClient, heartbeatMs?: number): Line {
		let line = lines.get(client);
		if (!line) lines.set(client, (line = new Line(openDatabase(client), heartbeatMs)));
		return line;
	}

	get state(): SourceState {
		return this.#state;
	}

	/** Adds a listener. @returns a function that removes it. */
	listen(channel: string, listener: LineListener): () => void {
		const entry: Entry = { channel, listener, isLive: false };
		this.#entries.add(entry);
		if (this.#trouble) {
			const error = this.#trouble;
			queueMicrotask(() => this.#entries.has(entry) && !entry.isLive && listener.failed(error));
		}
		if (this.#state === 'idle') void this.#run();
		else if (this.#state === 'open') this.#wake?.();
		return () => {
			this.#entries.delete(entry);
			if (this.#entries.size === 0) this.#wake?.();
		};
	}

	async #run(): Promise<void> {
		while (this.#entries.size > 0) {
			this.#state = 'connecting';
			try {
				await this.#hold();
			} catch (error) {
				this.#failed(explain(error, ''));
			}
			if (this.#entries.size === 0) break;
			this.#state = 'waiting';
			await this.#pause(backoffMs(this.#failures++, MIN_PAUSE_MS, MAX_PAUSE_MS));
		}
		this.#state = 'idle';
		this.#failures = 0;
		this.#trouble = undefined;
	}

	/** Opens a session and keeps it until it is lost, or nobody listens any more. */
	async #hold(): Promise<void> {
		let onLost!: (error: unknown) => void;
		const lost = new Promise<never>((_, reject) => (onLost = reject));
		lost.catch(() => {});
		const session = await this.#connect(onLost);
		try {
			const listening = new Set<string>();
			while (this.#entries.size > 0) {
				await Promise.race([lost, this.#test(session, listening)]);
				this.#state = 'open';
				this.#failures = 0;
				this.#trouble = undefined;
				this.#tellLive(listening);
				const hasNew = [...this.#entries].some(({ channel }) => !listening.has(channel));
				if (!hasNew) await Promise.race([lost, this.#pause(this.#heartbeatMs)]);
			}
		} finally {
			session.end();
		}
	}

	async #connect(onLost: (error: unknown) => void): Promise<Session> {
		const connecting = this.#database.connect({
			notify: (channel, payload) => this.#notify(channel, payload),
			lost: onLost
		});
		try {
			return await inTime(connecting);
		} catch (error) {
			connecting.then((session) => session.end()).catch(() => {});
			throw error;
		}
	}

	/** Listens to new channels, and makes sure that notifications arrive. */
	async #test(session: Session, listening: Set<string>): Promise<void> {
		const channels = new Set([...this.#entries].map(({ channel }) => channel));
		let hasNew = false;
		for (const channel of channels) {
			if (listening.has(channel)) continue;
			await inTime(session.listen(channel));
			listening.add(channel);
			hasNew = true;
		}
		// If the database runs in this process, an answer may have to wait for a long transaction of the app.
		const [channel] = listening;
		if (channel === undefined || (session.isLocal && !hasNew)) return;
		const payload = `${ECHO}${Math.random().toString(36).slice(2)}`;
		const answerMs = Math.min(MAX_ANSWER_MS, Math.max(1_000, this.#heartbeatMs));
		try {
			await inTime(
				new Promise<void>((heard, failed) => {
					this.#echo = { payload, heard };
					session.notify(channel, payload).catch(failed);
				}),
				answerMs
			);
		} catch (error) {
			if (!(error instanceof TimeoutError)) throw error;
			throw new RealtimeError('BACKEND', hasNew ? NEVER_HEARD : SILENT);
		} finally {
			this.#echo = undefined;
		}
	}

	#notify(channel: string, payload: string): void {
		if (payload.startsWith(ECHO)) {
			if (payload === this.#echo?.payload) this.#echo.heard();
			return;
		}
		for (const entry of [...this.#entries]) {
			if (entry.channel === channel && entry.isLive) entry.listener.notify(payload);
		}
	}

	#tellLive(listening: ReadonlySet<string>): void {
		for (const entry of [...this.#entries]) {
			if (entry.isLive || !listening.has(entry.channel)) continue;
			entry.isLive = true;
			entry.listener.live();
		}
	}

	#failed(error: Error): void {
		this.#trouble = error;
		for (const entry of [...this.#entries]) {
			const wasLive = entry.isLive;
			entry.isLive = false;
			if (wasLive) entry.listener.lost(error);
			else entry.listener.failed(error);
		}
	}

	/** Waits; a new listener, or the end of the last one, ends the wait. */
	#pause(ms: number): Promise<void> {
		return new Promise((resolve) => {
			const timer = setTimeout(resolve, ms);
			timer.unref?.();
			this.#wake = () => {
				clearTimeout(timer);
				resolve();
			};
		});
	}
}
