import { backoffMs } from '../../protocol/backoff.js';
import { eventName, type WriteAnswer } from '../shared/wire.js';
import type { TableDefinition } from '../shared/table.js';
import type { OutboxEntry } from '../storage/database.js';
import { request, type Post } from './post.js';

/** Why a write was refused. */
export interface WriteRefusal {
	status: number;
	message: string;
	/** Whether the server does not know the version of the table any more. */
	isOutdated: boolean;
}

/** What a pusher works for. */
export interface PusherOwner {
	/** The table of a write; nothing while its writes have to wait. */
	table(name: string): TableDefinition | undefined;
	post: Post;
	/** Takes the answer to a write over. */
	settle(entry: OutboxEntry, answer: WriteAnswer | WriteRefusal): Promise<void>;
	/** Told when the endpoint is reached again, or is not any more. */
	reached(failure: string | undefined): void;
}

/** Writes that are on their way at the same time. */
const MAX_SENDING = 10;
/** After how many milliseconds a write on its way is slow. */
const SLOW_MS = 3_000;
/** The first and the longest wait, in milliseconds, after a fault. */
const MIN_DELAY_MS = 500;
const MAX_DELAY_MS = 30_000;

/**
 * Sends the writes of the outbox: those of one row one after another, those of different rows side by side.
 * Faults that may pass are tried again for ever; a fault of one write, or a slow one, holds up its rows alone, an
 * endpoint that cannot be reached holds up all.
 */
export class Pusher {
	readonly #owner: PusherOwner;
	/** Writes that are on their way, since when, and what ends their requests. */
	readonly #sending = new Map<string, { sentMs: number; end: AbortController }>();
	/** Writes that are answered, until the outbox shows it. */
	readonly #done = new Set<string>();
	/** When writes that failed by themselves are sent again, and how often they failed. */
	readonly #failed = new Map<string, { count: number; atMs: number; isMiss: boolean }>();
	#entries: readonly OutboxEntry[] = [];
	/** Requests in a row that did not reach the endpoint. */
	#misses = 0;
	#openAtMs = 0;
	/** The write that finds out whether the endpoint is back. */
	#probe: string | undefined;
	#timer: ReturnType<typeof setTimeout> | undefined;
	#isClosed = false;

	constructor(owner: PusherOwner) {
		this.#owner = owner;
	}

	/** What is in the outbox now, in order. */
	update(entries: readonly OutboxEntry[]): void {
		this.#entries = entries;
		const ids = new Set(entries.map(({ id }) => id));
		for (const id of this.#done) if (!ids.has(id)) this.#done.delete(id);
		this.pump();
	}

	/** Whether a write waits for its answer. */
	has(id: string): boolean {
		return this.#entries.some((entry) => entry.id === id);
	}

	/** Waits no longer. */
	retry(): void {
		this.#openAtMs = 0;
		for (const failure of this.#failed.values()) failure.atMs = 0;
		this.pump();
	}

	close(): void {
		this.#isClosed = true;
		clearTimeout(this.#timer);
		for (const { end } of this.#sending.values()) end.abort();
	}

	/** Sends what can be sent now. */
	pump(): void {
		clearTimeout(this.#timer);
		if (this.#isClosed) return;
		const now = performance.now();
		let nextMs = this.#openAtMs > now ? this.#openAtMs : Infinity;
		// What is slow does not take the place of others.
		const slowAtMs = [...this.#sending.values()].map(({ sentMs }) => sentMs + SLOW_MS);
		const busyUntilMs = slowAtMs.filter((atMs) => atMs > now);
		let room = MAX_SENDING - busyUntilMs.length;
		// One request finds out whether the endpoint is back.
		const probedMs = this.#sending.get(this.#probe ?? '')?.sentMs ?? -Infinity;
		if (this.#misses > 0) room = probedMs + SLOW_MS > now ? 0 : 1;
		if (this.#openAtMs > now) room = 0;
		const busy = new Set<string>();
		const ready: [OutboxEntry, TableDefinition][] = [];
		for (const entry of this.#entries) {
			if (this.#done.has(entry.id)) continue;
			const isFirst = entry.lanes.every((lane) => !busy.has(lane));
			for (const lane of entry.lanes) busy.add(lane);
			const table = this.#owner.table(entry.table);
			if (!isFirst || !table || this.#sending.has(entry.id)) continue;
			const { atMs = 0 } = this.#failed.get(entry.id) ?? {};
			if (atMs > now) nextMs = Math.min(nextMs, atMs);
			else ready.push([entry, table]);
		}
		// Whether the endpoint is back is found out by a write that did not fail before.
		if (this.#misses > 0) ready.sort(([one], [other]) => this.#count(one) - this.#count(other));
		if (ready.length > room) nextMs = Math.min(nextMs, ...busyUntilMs);
		for (const [entry, table] of ready.slice(0, Math.max(room, 0))) void this.#send(entry, table);
		if (nextMs < Infinity) this.#timer = setTimeout(() => this.pump(), nextMs - now);
	}

	async #send(entry: OutboxEntry, table: TableDefinition): Promise<void> {
		const { id, action, rows, stamp, version } = entry;
		const end = new AbortController();
		this.#sending.set(id, { sentMs: performance.now(), end });
		if (this.#misses > 0) this.#probe = id;
		const event = eventName(table, action);
		const outcome = await request<WriteAnswer>(
			this.#owner.post,
			{ event, id, v: version, data: { stamp, rows } },
			end.signal
		);
		if (this.#isClosed) return;
		try {
			if ('failed' in outcome) this.#miss(id, outcome);
			else {
				this.#reach();
				await this.#owner.settle(
					entry,
					'result' in outcome
						? outcome.result
						: {
								status: outcome.status,
								message: outcome.refused.error,
								isOutdated: outcome.refused.reason === 'outdated'
							}
				);
				this.#failed.delete(id);
				this.#done.add(id);
			}
		} catch {
			// The copy could not be written, which was reported; the answer is the same next time.
			this.#fail(id, 0);
		} finally {
			this.#sending.delete(id);
			if (this.#probe === id) this.#probe = undefined;
			this.pump();
		}
	}

	#miss(
		id: string,
		{ failed, status, retryAfterMs }: { failed: string; status: number; retryAfterMs: number }
	): void {
		// It may be the fault of this write alone: others go first next time.
		this.#fail(id, retryAfterMs, status !== 500);
		// 500 is the handler's own.
		if (status === 500) return this.#reach();
		const waitMs = Math.max(retryAfterMs, backoffMs(this.#misses++, MIN_DELAY_MS, MAX_DELAY_MS));
		this.#openAtMs = performance.now() + waitMs;
		this.#owner.reached(failed);
	}

	/** How often a write failed. */
	#count({ id }: OutboxEntry): number {
		return this.#failed.get(id)?.count ?? 0;
	}

	#fail(id: string, retryAfterMs: number, isMiss = false): void {
		const { count = 0 } = this.#failed.get(id) ?? {};
		const waitMs = Math.max(retryAfterMs, backoffMs(count, MIN_DELAY_MS, MAX_DELAY_MS));
		this.#failed.set(id, { count: count + 1, atMs: performance.now() + waitMs, isMiss });
	}

	#reach(): void {
		if (this.#misses > 0) {
			this.#owner.reached(undefined);
			// What failed while it was away need not wait any longer.
			for (const failure of this.#failed.values()) if (failure.isMiss) failure.atMs = 0;
		}
		this.#misses = 0;
		this.#openAtMs = 0;
	}
}
