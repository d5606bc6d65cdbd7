import { RealtimeError } from '../protocol/errors.js';
import type { Published } from '../server/backend/backend.js';
import type { ReplayEvent } from '../server/backend/replay.js';

/** Most events per statement. */
const MAX_EVENTS = 200;

/** An event to be added to its log. */
export interface Publishing {
	event: ReplayEvent;
	/** Minimum time, in milliseconds, that its key is remembered. */
	keyTtlMs: number | null;
	/** When its caller stops waiting, by the monotonic clock of the process. */
	until: number;
}

/** An event, and its waiting caller. */
interface Waiting extends Publishing {
	resolve(published: Published): void;
	reject(error: unknown): void;
}

/** Publishes events of one log. */
type Send = (log: string, events: readonly Publishing[]) => Promise<readonly Published[]>;

/**
 * While a statement for a log is running, collects further events for the next statement: only one writer at
 * a time can lock the log, so many at once would only wait for each other.
 */
export class Publisher {
	readonly #send: Send;
	readonly #timeoutMs: number;
	/** The waiting events of each log that has a running statement. */
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
