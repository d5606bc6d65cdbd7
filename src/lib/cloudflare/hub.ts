import { RealtimeError } from '../protocol/errors.js';
import { HeldPresenceStore } from '../server/backend/heldPresence.js';
import type { PresenceListener } from '../server/backend/presence.js';
import type { RealtimeUpstreamOptions } from '../server/inngest/options.js';
import type { InngestClient } from '../server/inngest/token.js';
import { Channels } from './channels.js';
import { SqlIdempotencyStore } from './idempotency.js';
import { inngestOf } from './inngest.js';
import type { ObjectStateLike } from './platform.js';
import { SqlRateLimitStore } from './rateLimit.js';
import { encodeLine, Reader, SIGN_OF_LIFE } from './reader.js';
import { SqlReplayStore } from './replay.js';
import { Streams } from './streams.js';
import {
	decode,
	encode,
	LISTENS,
	METHODS,
	type CallRequest,
	type Line,
	type ListenRequest
} from './wire.js';

/** Options of `createRealtimeHub`. */
export interface RealtimeHubOptions {
	/**
	 * The Inngest client whose address, keys and environment are used, or a function that makes one of the
	 * Worker's `env`.
	 * @default one of `INNGEST_SIGNING_KEY`, `INNGEST_SIGNING_KEY_FALLBACK`, `INNGEST_ENV`,
	 *   `INNGEST_BASE_URL` and `INNGEST_DEV` of the Worker's `env`
	 */
	inngest?: InngestClient | ((env: never) => InngestClient);
	/** How the socket to Inngest is opened. */
	upstream?: RealtimeUpstreamOptions;
	/** Most messages kept per channel, where the app's `replay` says nothing. @default 1_000 */
	maxEvents?: number;
	/** Age, in milliseconds, after which a message is dropped; likewise. @default 3_600_000 */
	maxAgeMs?: number;
	/**
	 * Milliseconds that a channel is received after its last reader. With the last channel the socket to
	 * Inngest is closed, and the object may sleep.
	 * @default 60_000
	 */
	lingerMs?: number;
	/**
	 * Milliseconds between two signs of life to each reader, which also show that a reader is gone. They
	 * start with the first reader and stop with the last.
	 * @default 15_000
	 */
	heartbeatMs?: number;
	/** The clock that the age of messages is told by, in milliseconds since the epoch. @default Date.now */
	now?: () => number;
}

/** What an object is doing. */
export interface RealtimeHubStats {
	/** Its name, as the app's isolates call it; `null` before the first request. */
	name: string | null;
	/** Channels that streams read now, each counted for each of its streams. */
	readers: number;
	/** Open streams of all isolates; only the object that knows them has any. */
	streams: number;
	/** Questions to streams that wait for their answers. */
	questions: number;
	/** Members of its channels. */
	members: number;
	/** Channels that are received from Inngest. */
	feeds: number;
	/** Sockets to Inngest. */
	sockets: number;
	/** Whether signs of life are sent. */
	isBeating: boolean;
}

/** The object that all isolates share. */
export interface RealtimeHubObject {
	/** Answers an isolate. */
	fetch(request: Request): Promise<Response>;
	/** Deletes what is too old. */
	alarm(): Promise<void>;
	/** How it is doing. */
	stats(): RealtimeHubStats;
}

/** The class of a Durable Object. */
export type RealtimeHubClass = new (ctx: ObjectStateLike, env: unknown) => RealtimeHubObject;

/** The least time, in milliseconds, between two alarms. */
const MIN_ALARM_MS = 60_000;

/**
 * Makes the class of the Durable Object that is the hub of all isolates. Its Worker exports a class of its
 * own that extends it. The object needs SQLite storage: `new_sqlite_classes` in the Worker's migrations.
 *
 * @throws {RealtimeError} `INVALID_OPTION` for options that cannot work.
 * @example
 * ```ts
 * import { createRealtimeHub } from 'sveltekit-inngest/cloudflare';
 *
 * export class RealtimeHub extends createRealtimeHub() {}
 * ```
 */
export function createRealtimeHub(options: RealtimeHubOptions = {}): RealtimeHubClass {
	const {
		maxEvents = 1_000,
		maxAgeMs = 3_600_000,
		lingerMs = 60_000,
		heartbeatMs = 15_000,
		now = Date.now
	} = options;
	for (const [name, value] of Object.entries({ maxEvents, maxAgeMs, heartbeatMs })) {
		if (Number.isSafeInteger(value) && value >= 1) continue;
		throw invalid(name, value, 'a whole number of at least 1');
	}
	if (!(lingerMs >= 0)) throw invalid('lingerMs', lingerMs, 'zero or more milliseconds');

	return class implements RealtimeHubObject {
		readonly #ctx: ObjectStateLike;
		readonly #replay: SqlReplayStore;
		// What an earlier life of the object handed out lies below.
		readonly #presence = new HeldPresenceStore(Date.now() * 1_000);
		readonly #streams = new Streams();
		readonly #rateLimit: SqlRateLimitStore;
		readonly #idempotency: SqlIdempotencyStore;
		readonly #channels: Channels;
		/** Whoever listens to anything. */
		readonly #readers = new Set<Reader>();
		/** How many of them read a channel. */
		#reading = 0;
		/** Who hears of what is appended, by the log. */
		readonly #listening = new Map<string, Set<Reader>>();
		#heartbeat: ReturnType<typeof setInterval> | undefined;
		#name: string | null;
		/** When the next alarm is, in milliseconds since the epoch; `undefined` where that is not known. */
		#alarmAtMs: number | undefined;

		constructor(ctx: ObjectStateLike, env: unknown) {
			const { sql } = ctx.storage;
			this.#ctx = ctx;
			this.#replay = new SqlReplayStore(sql, { maxEvents, maxAgeMs, now }, (log, events) => {
				const listening = this.#listening.get(log);
				if (!listening) return;
				const line = encodeLine({ type: 'events', events });
				for (const reader of [...listening]) reader.write(line);
			});
			this.#rateLimit = new SqlRateLimitStore(sql, now);
			this.#idempotency = new SqlIdempotencyStore(sql, now);
			sql.exec('CREATE TABLE IF NOT EXISTS object (name TEXT NOT NULL)');
			const [row] = [...sql.exec('SELECT name FROM object')];
			this.#name = row ? String(row.name) : null;
			const { inngest, upstream } = options;
			this.#channels = new Channels(this.#replay.ofSource, {
				inngest:
					(typeof inngest === 'function' ? inngest(env as never) : inngest) ?? inngestOf(env),
				upstream,
				lingerMs,
				stored: () => void this.#scheduleAlarm()
			});
		}

		async fetch(request: Request): Promise<Response> {
			const body = readRequest(await request.text());
			if (!body) {
				return new Response('The hub cannot read this request; deploy both Workers again.', {
					status: 400
				});
			}
			this.#remember(body.object);
			if ('listen' in body) return this.#listen(body);
			try {
				return new Response(encode({ value: await this.#call(body) }));
			} catch (error) {
				return new Response(error instanceof Error ? error.message : String(error), {
					status: 500
				});
			}
		}

		async alarm(): Promise<void> {
			this.#alarmAtMs = undefined;
			const parts = [this.#rateLimit, this.#idempotency];
			const ends = parts.flatMap((part) => part.clean() ?? []);
			ends.push(...this.#replay.clean((log) => this.#listening.has(log)));
			if (ends.length === 0) return;
			this.#alarmAtMs = Date.now() + Math.max(MIN_ALARM_MS, Math.min(...ends) - now());
			await this.#ctx.storage.setAlarm(this.#alarmAtMs);
		}

		stats(): RealtimeHubStats {
			return {
				name: this.#name,
				readers: this.#reading,
				...this.#streams.size,
				members: this.#presence.size.members,
				...this.#channels.stats,
				isBeating: this.#heartbeat !== undefined
			};
		}

		/** Its own name is not known to every object that an alarm wakes. */
		#remember(name: string): void {
			if (this.#name !== null) return;
			this.#name = name;
			this.#ctx.storage.sql.exec('INSERT INTO object VALUES (?)', name);
		}

		#call({ part, method, args, limits }: CallRequest): unknown {
			if (!(METHODS[part] as readonly string[] | undefined)?.includes(method)) {
				throw new TypeError(
					`The hub has no method "${part}.${method}"; deploy both Workers again.`
				);
			}
			if (limits) this.#replay.limit(String(args[0]), limits);
			const target = {
				replay: this.#replay,
				bus: this.#replay,
				presence: this.#presence,
				streams: this.#streams,
				rateLimit: this.#rateLimit,
				idempotency: this.#idempotency
			}[part] as unknown as Record<string, (...args: readonly unknown[]) => unknown>;
			// What only lives in memory needs no cleaning.
			if (part !== 'presence' && part !== 'streams') void this.#scheduleAlarm();
			return target[method]!(...args);
		}

		#listen({ listen, name, limits, lease, entry, ask }: ListenRequest): Response {
			const stops: (() => void)[] = [];
			let isOver = false;
			const reader = new Reader(() => {
				isOver = true;
				this.#readers.delete(reader);
				if (this.#readers.size === 0) this.#stopBeating();
				for (const stop of stops) stop();
			});
			/** What is begun for the reader may be over at once. */
			const until = (stop: () => void): void => {
				if (isOver) stop();
				else stops.push(stop);
			};
			this.#readers.add(reader);
			this.#heartbeat ??= setInterval(() => this.#beat(), heartbeatMs);
			// The first bytes bring the headers on their way.
			reader.write(SIGN_OF_LIFE);
			const write = (line: Line): void => reader.write(encodeLine(line));
			const live = (cursor: string): void => write({ type: 'live', cursor, heartbeatMs });
			if (listen === 'presence') {
				const listener: PresenceListener = {
					changes: (changes) => write({ type: 'changes', changes }),
					check() {},
					due: () => write({ type: 'due' })
				};
				until(this.#presence.listen(name, listener, lease));
				live('');
			} else if (listen === 'stream') {
				until(this.#streams.enter(entry!, write));
				live('');
			} else if (listen === 'ask') {
				live('');
				const { where, question } = ask!;
				until(
					this.#streams.ask(where, question, (line) => {
						write(line);
						// Whoever asked may be gone without a word.
						if (line.type === 'over') reader.end();
					})
				);
			} else {
				if (limits) this.#replay.limit(name, limits);
				this.#reading++;
				until(() => this.#reading--);
				until(this.#hear(name, reader));
				void this.#scheduleAlarm();
				if (listen === 'log') live(this.#replay.bounds(name).last);
				else {
					until(
						this.#channels.follow(name, {
							live: () => live(this.#replay.bounds(name).last),
							lost: (text) => write({ type: 'lost', text }),
							failed: (text) => {
								write({ type: 'failed', text });
								reader.end();
							}
						})
					);
				}
			}
			return new Response(reader.body, {
				// Streams of other types are held back in local development.
				headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store' }
			});
		}

		#hear(log: string, reader: Reader): () => void {
			let listening = this.#listening.get(log);
			if (!listening) this.#listening.set(log, (listening = new Set()));
			listening.add(reader);
			return () => {
				listening.delete(reader);
				if (listening.size === 0 && this.#listening.get(log) === listening) {
					this.#listening.delete(log);
				}
			};
		}

		#beat(): void {
			for (const reader of [...this.#readers]) reader.write(SIGN_OF_LIFE);
			this.#presence.tellDue();
		}

		#stopBeating(): void {
			clearInterval(this.#heartbeat);
			this.#heartbeat = undefined;
		}

		/** Sees to it that what is stored is deleted in time, also where the next alarm waits for what is kept longer. */
		async #scheduleAlarm(): Promise<void> {
			const { storage } = this.#ctx;
			const dueMs = Date.now() + Math.max(MIN_ALARM_MS, maxAgeMs);
			if ((this.#alarmAtMs ?? Infinity) <= dueMs) return;
			const isKnown = this.#alarmAtMs !== undefined;
			this.#alarmAtMs = dueMs;
			const setMs = isKnown ? null : await storage.getAlarm();
			if (setMs !== null && setMs <= dueMs) this.#alarmAtMs = setMs;
			else await storage.setAlarm(dueMs);
		}
	};
}

/** @returns nothing for what no isolate sends. */
function readRequest(json: string): CallRequest | ListenRequest | undefined {
	try {
		const body = decode<Partial<CallRequest & ListenRequest> | null>(json);
		const { object, part, method, args, listen, name, entry, ask } = body ?? {};
		const isComplete = (listen !== 'stream' || entry) && (listen !== 'ask' || ask);
		const isKnown = listen !== undefined && LISTENS.includes(listen);
		const isListen = isKnown && isComplete && typeof name === 'string';
		const isCall = typeof part === 'string' && typeof method === 'string' && Array.isArray(args);
		return typeof object === 'string' && (isListen || isCall)
			? (body as CallRequest | ListenRequest)
			: undefined;
	} catch {
		return undefined;
	}
}

function invalid(name: string, value: unknown, expected: string): RealtimeError {
	return new RealtimeError(
		'INVALID_OPTION',
		`\`createRealtimeHub\` cannot use \`${name}: ${String(value)}\`: it must be ${expected}.`
	);
}
