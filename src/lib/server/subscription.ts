import { EVENT } from '../protocol/constants.js';
import { encodeEvent } from '../protocol/frame.js';
import type { HealthPayload, ResyncPayload, ResyncReason } from '../protocol/health.js';
import type { Connection } from './connection.js';
import { Failure, TEXT, type Report } from './failure.js';
import type { Batch, Feed, FeedReader } from './feed.js';
import { Gate, type Check } from './gate.js';
import type { FeedSource, Hub } from './hub.js';
import { isAfter, type LogEntry } from './log.js';

/** One channel of a request, resolved and authorized. */
export interface SubscriptionSpec {
	source: FeedSource;
	/** What may be read. */
	topics: ReadonlySet<string>;
	/** Checks each message before it is sent. */
	check?: Check | undefined;
	/** Checks the right to read at all; rejects with a `Failure` when it is gone. */
	recheck?: (() => Promise<void>) | undefined;
}

/** Bytes of replayed messages that are given to a connection before it has taken the ones before. */
const REPLAY_PAGE_BYTES = 64 * 1024;

/**
 * One channel of one connection: first what followed the reader's cursor, then what comes. Replay goes
 * as fast as the reader takes it: one that stalls holds a cursor and no messages.
 */
export class Subscription implements FeedReader {
	readonly topics: ReadonlySet<string>;
	readonly report: Report;
	readonly recheck: (() => Promise<void>) | undefined;
	readonly #connection: Connection;
	readonly #hub: Hub;
	readonly #feed: Feed;
	readonly #gate: Gate | undefined;
	/** Entries that came while the log was being read; `null` once this reader follows the feed. */
	#overtaking: LogEntry[] | null = [];
	/** A resync to be said once the feed is live, as an app that answers it reads afresh at once. */
	#pendingResync: ResyncReason | undefined;
	#ended = false;

	constructor(connection: Connection, hub: Hub, spec: SubscriptionSpec, report: Report) {
		this.topics = spec.topics;
		this.report = report;
		this.recheck = spec.recheck;
		this.#connection = connection;
		this.#hub = hub;
		this.#feed = hub.enter(spec.source);
		if (spec.check) {
			this.#gate = new Gate(spec.check, {
				pass: (entry) => connection.push(entry.frame),
				deny: (error) => this.fail(asDenial(error)),
				held: (bytes) => connection.hold(bytes)
			});
		}
	}

	get channel(): string {
		return this.#feed.channel;
	}

	deliver(batch: Batch): void {
		if (this.#overtaking) this.#overtaking.push(...batch.entries);
		else if (this.#gate) for (const entry of batch.entries) this.#gate.push(entry);
		else this.#connection.push(batch.chunk);
	}

	changed(): void {
		if (this.#overtaking || this.#ended) return;
		if (this.#feed.status === 'live' && this.#pendingResync) {
			this.#resync(this.#pendingResync);
			this.#pendingResync = undefined;
		}
		// In the gate's order: `connected` says that everything up to its cursor was queued before it.
		if (this.#gate) this.#gate.after(() => this.#pushHealth(Date.now()));
		else this.#pushHealth(Date.now());
	}

	failed(message: string): void {
		this.#degrade({ detail: message, stage: 'stream', code: 503 });
	}

	/** Says how the channel is, as a sign of life. */
	tick(nowMs: number): void {
		// While messages wait, the feed's cursor is ahead of what was queued.
		if (this.#overtaking || (this.#gate && !this.#gate.idle)) this.#connection.keepAlive();
		else this.#pushHealth(nowMs);
	}

	/** Ends the channel for a reason that the reader is told. */
	fail(failure: Failure): void {
		if (this.#ended) return;
		const { stage, status, cause } = failure;
		const message = this.report({
			stage,
			status,
			message: failure.message,
			channelId: this.channel,
			topics: [...this.topics],
			...(cause !== undefined && { error: cause })
		});
		this.#degrade({ detail: message, stage, code: status, fatal: failure.isFatal });
	}

	/** Lets go of the feed. */
	end(): void {
		if (this.#ended) return;
		this.#ended = true;
		this.#gate?.shut();
		this.#hub.leave(this.#feed, this);
	}

	/** Begins to read, after `lastEventId` where there is one. */
	async start(lastEventId: string | undefined): Promise<void> {
		const { intervalMs } = this.#connection;
		this.#connection.push(
			healthFrame({
				ok: false,
				status: 'connecting',
				ts: Date.now(),
				channel: this.channel,
				...(intervalMs !== false && { intervalMs })
			})
		);
		try {
			if (lastEventId === undefined) this.#feed.attach(this);
			else {
				// Where the log answers at once this is done before anything else can happen.
				const caughtUp = this.#catchUp(lastEventId);
				if (caughtUp) await caughtUp;
			}
		} catch (error) {
			if (this.#ended) return;
			this.failed(
				this.report({
					stage: 'stream',
					status: 503,
					message: TEXT.store,
					channelId: this.channel,
					error
				})
			);
			return;
		}
		if (this.#ended) return;
		this.#overtaking = null;
		if (this.#feed.status !== 'connecting') this.changed();
	}

	/** Sends what followed `cursor`, page by page, and ends where the feed goes on. */
	#catchUp(cursor: string): void | Promise<void> {
		this.#overtaking = [];
		this.#feed.attach(this);
		const read = this.#feed.log.since(cursor);
		return read instanceof Promise
			? read.then((slice) => this.#takePage(cursor, slice))
			: this.#takePage(cursor, read);
	}

	#takePage(
		cursor: string,
		{ entries, missed }: { entries: readonly LogEntry[]; missed?: ResyncReason }
	): void | Promise<void> {
		if (this.#ended) return;
		if (missed) {
			if (this.#feed.wasLive) this.#resync(missed);
			else this.#pendingResync = missed;
		}
		let position: string | null = missed ? null : cursor;
		let bytes = 0;
		for (const entry of entries) {
			if (bytes >= REPLAY_PAGE_BYTES) {
				// The rest stays in the log until the reader has taken this page.
				this.#feed.detach(this);
				const next = position!;
				return this.#drained().then(() => (this.#ended ? undefined : this.#catchUp(next)));
			}
			position = entry.cursor;
			if (entry.topic !== null && !this.topics.has(entry.topic)) continue;
			bytes += entry.frame.length;
			this.#send(entry);
		}
		for (const entry of this.#overtaking ?? []) {
			if (isAfter(entry.cursor, position)) this.#send(entry);
		}
	}

	async #drained(): Promise<void> {
		const { promise, resolve } = withResolver();
		if (this.#gate) this.#gate.after(resolve);
		else resolve();
		await promise;
		await this.#connection.drained();
	}

	#send(entry: LogEntry): void {
		if (this.#gate) this.#gate.push(entry);
		else this.#connection.push(entry.frame);
	}

	#pushHealth(nowMs: number): void {
		if (this.#ended) return;
		const { report } = this;
		const withId = this.#connection.request.isSingle;
		this.#connection.push(this.#feed.healthFrame(nowMs, { report, withId }));
	}

	#resync(reason: ResyncReason): void {
		const payload: ResyncPayload = { channel: this.channel, reason, ts: Date.now() };
		this.#connection.push(encodeEvent(EVENT.resync, JSON.stringify(payload)));
	}

	#degrade(health: Pick<HealthPayload, 'detail' | 'stage' | 'code' | 'fatal'>): void {
		if (this.#ended) return;
		this.#connection.push(degradedFrame(this.channel, health));
		this.end();
		this.#connection.remove(this);
	}
}

/** The last frame of a channel. */
export function degradedFrame(
	channel: string,
	health: Pick<HealthPayload, 'detail' | 'stage' | 'code' | 'fatal'>
): Uint8Array {
	return healthFrame({ ok: false, status: 'degraded', ts: Date.now(), channel, ...health });
}

function healthFrame(health: HealthPayload): Uint8Array {
	return encodeEvent(EVENT.health, JSON.stringify(health));
}

function asDenial(error: unknown): Failure {
	return error instanceof Failure
		? error
		: new Failure('reauthorization', 403, TEXT.revoked, { cause: error });
}

function withResolver(): { promise: Promise<void>; resolve: () => void } {
	let resolve!: () => void;
	const promise = new Promise<void>((done) => (resolve = done));
	return { promise, resolve };
}
