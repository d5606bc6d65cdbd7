import { backoffMs } from '../protocol/backoff.js';
import { detached } from '../server/backend/support.js';
import type { Line, RedisSource } from './clients.js';
import { closed, describe, late, type RedisError } from './errors.js';
import type { Script } from './scripts.js';

/** After a failed attempt to connect, calls fail at once for a while: at first this long, in milliseconds. */
const MIN_PAUSE_MS = 50;
const MAX_PAUSE_MS = 1_000;

/** A connection that reconnects by itself is closed after this many failures in a row. */
const MAX_FAILURES = 3;

/**
 * The connection for commands. The first command opens it. It does not hold the process open, and is opened
 * again when it breaks or does not answer. Every command settles within the time limit, and none is kept to
 * be sent later: it would be written long after its caller gave up on it.
 */
export class Commands {
	readonly #source: RedisSource;
	readonly #timeoutMs: number;
	#line: { opened: Promise<Line>; destroy(): void } | undefined;
	/** Failures in a row. */
	#failures = 0;
	/** While it lasts, there are no attempts. */
	#pause: { untilMs: number; error: RedisError } | undefined;
	#isClosed = false;

	constructor(source: RedisSource, timeoutMs: number) {
		this.#source = source;
		this.#timeoutMs = timeoutMs;
	}

	/**
	 * Runs a script, by its name if Redis has it cached.
	 *
	 * @param keys Keys that are all in one slot.
	 * @throws {RedisError} when it fails or takes too long.
	 */
	async run(script: Script, keys: readonly string[], args: readonly string[]): Promise<string[]> {
		const more = [`${keys.length}`, ...keys, ...args];
		const reply = await this.#attempt(async (line) => {
			try {
				return await line.send(keys[0]!, ['EVALSHA', script.sha, ...more]);
			} catch (error) {
				if (describe(error).code !== 'NOSCRIPT') throw error;
				return line.send(keys[0]!, ['EVAL', script.source, ...more]);
			}
		});
		return (reply as unknown[]).map(String);
	}

	/** @throws {RedisError} when it fails or takes too long. */
	async publish(command: string, channel: string, text: string): Promise<void> {
		await this.#attempt((line) => line.send(channel, [command, channel, text]));
	}

	close(): void {
		this.#isClosed = true;
		this.#drop();
	}

	async #attempt(use: (line: Line) => Promise<unknown>): Promise<unknown> {
		if (this.#isClosed) throw closed();
		if (this.#pause && performance.now() < this.#pause.untilMs) throw this.#pause.error;
		const line = (this.#line ??= detached(() => this.#open()));
		try {
			const reply = await inTime(this.#timeoutMs, async () => use(await line.opened));
			this.#failures = 0;
			return reply;
		} catch (error) {
			throw this.#failed(line, describe(error));
		}
	}

	#open(): { opened: Promise<Line>; destroy(): void } {
		let cause: unknown;
		const line = this.#source.open(
			{
				broken: (error) => {
					cause ??= error;
					this.#drop(opening);
				},
				message: () => {}
			},
			{ purpose: 'commands', sharded: false }
		);
		const opened = line.connect().then(
			() => {
				this.#pause = undefined;
				return line;
			},
			(closed: unknown) => {
				// `ioredis` only says that the connection was closed.
				const error = describe(cause ?? closed);
				this.#drop(opening);
				// It took so long to fail that another attempt is under way.
				if (this.#line) throw error;
				const pauseMs = backoffMs(this.#failures, MIN_PAUSE_MS, MAX_PAUSE_MS);
				this.#pause = { untilMs: performance.now() + pauseMs, error };
				throw error;
			}
		);
		const opening = { opened, destroy: () => line.destroy() };
		return opening;
	}

	#failed(line: object, error: RedisError): RedisError {
		if (this.#isClosed) return closed();
		// A reply means that the connection is good, unless its server refuses writes.
		if (error.isReply && !/\b(READONLY|NOAUTH)\b/.test(error.message)) return error;
		this.#failures++;
		if (!this.#source.heals || this.#failures >= MAX_FAILURES) this.#drop(line);
		return error;
	}

	/** Ends the connection, if it is still in use. */
	#drop(line: object | undefined = this.#line): void {
		if (!line || this.#line !== line) return;
		const { destroy } = this.#line;
		this.#line = undefined;
		destroy();
	}
}

/** Settles within the time limit, whatever the library does. Keeps the process alive until then. */
export async function inTime<T>(timeoutMs: number, work: () => Promise<T>): Promise<T> {
	let timer: ReturnType<typeof setTimeout> | undefined;
	const tooLate = new Promise<never>((_, reject) => {
		timer = setTimeout(() => reject(late(timeoutMs)), timeoutMs);
	});
	try {
		return await Promise.race([work(), tooLate]);
	} finally {
		clearTimeout(timer);
	}
}
