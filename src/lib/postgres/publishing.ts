import { RealtimeError } from '../protocol/errors.js';
import type { Published } from '../server/backend/backend.js';
import type { ReplayEvent } from '../server/backend/replay.js';

/** Most events that are published by one statement. */
const MAX_EVENTS = 200;

/** An event on its way to its log. */
export interface Publishing {
	event: ReplayEvent;
	/** How long, in milliseconds, its key is remembered at least. */
	keyTtlMs: number | null;
	/** Until when somebody waits for it, by the process's own clock. */
	until: number;
}

/** An event, and who waits for it. */
interface Waiting extends Publishing {
	resolve(published: Published): void;
	reject(error: unknown): void;
}

/** Publishes events of one log. */
type Send = (log: string, events: readonly Publishing[]) => Promise<readonly Published[]>;

/**
 * Publishes what comes while a statement for the same log is on its way by the next statement: the log
 * is locked by one writer at a time, so that many at once would only wait for each other.
 */
export class Publisher {
	readonly #send: Send;
	readonly #timeoutMs: number;
	/** What waits, for each log that a statement is on its way for. */
	readonly #logs = new Map<string, Waiting[]>();

	constructor(send: Send, timeoutMs: number) {
		this.#send = send;
		this.#timeoutMs = timeoutMs;
	}

	publish(log: string, event: ReplayEvent, keyTtlMs: number | null): Promise<Published> {
		return new Promise((resolve, reject) => {
			const until = performance.now() + this.#timeoutMs;
			const waiting: Waiting = { event, keyTtlMs, until, resolve, reject };
			const others = this.#logs.get(log);
			if (others) others.push(waiting);
			else {
				this.#logs.set(log, []);
				void this.#drain(log, [waiting]);
			}
		});
	}

	async #drain(log: string, first: readonly Waiting[]): Promise<void> {
		const waiting = this.#logs.get(log)!;
		for (let batch = first; batch.length > 0; batch = waiting.splice(0, MAX_EVENTS)) {
			const late = batch.filter(({ until }) => until < performance.now());
			for (const { reject } of late) {
				reject(
					new RealtimeError('BACKEND', 'Postgres did not get to publish the message in time.')
				);
			}
			const rest = batch.filter((item) => !late.includes(item));
			if (rest.length > 0) await this.#sendTogether(log, rest);
		}
		this.#logs.delete(log);
	}

	async #sendTogether(log: string, batch: readonly Waiting[]): Promise<void> {
		try {
			const published = await this.#send(log, batch);
			for (const [index, { resolve }] of batch.entries()) resolve(published[index]!);
		} catch (error) {
			for (const { reject } of batch) reject(error);
		}
	}
}
