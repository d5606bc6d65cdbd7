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
	/** Reports a failed check as one of its request. */
	report?: Report | undefined;
}

/**
 * One channel of one connection: first what followed the reader's cursor, then what comes. Replay goes
 * as fast as the reader takes it: one that stalls holds a cursor and no messages.
 */
export class Subscription implements FeedReader {
	readonly topics: ReadonlySet<string>;
	readonly report: Report;
	readonly #connection: Connection;
	readonly #hub: Hub;
	readonly #feed: Feed;
	readonly #gate: Gate | undefined;
	readonly #reportOwn: Report;
	readonly #recheck: (() => Promise<void>) | undefined;
	#rechecking = false;
	/** Cursor to go on from once the feed is live: before that its log has nothing to go on with. */
	#resumeFrom: string | undefined;
	/** Entries that came while the log was being read; `null` once this reader follows the feed. */
	#overtaking: LogEntry[] | null = [];
	/** How far the log was read, as long as the feed, whose store is asynchronous, is not there yet. */
	#ahead: string | null = null;
	#ended = false;

	constructor(connection: Connection, hub: Hub, spec: SubscriptionSpec, report: Report) {
		this.topics = spec.topics;
		this.report = report;
		this.#recheck = spec.recheck;
		this.#reportOwn = spec.report ?? report;
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
		else if (this.#gate || this.#ahead) for (const entry of batch.entries) this.#send(entry);
		else this.#connection.push(batch.chunk);
	}

	changed(): void {
		if (this.#ended) return;
		if (this.#resumeFrom !== undefined && this.#feed.status === 'live') {
			const cursor = this.#resumeFrom;
			this.#resumeFrom = undefined;
			void this.#read(cursor);
		} else if (!this.#overtaking) {
			// Made now and sent in the gate's order: its cursor says what was queued before it.
			const frame = this.#healthFrame(Date.now());
			if (this.#gate) this.#gate.after(() => this.#connection.push(frame));
			else this.#connection.push(frame);
		}
	}

	failed(message: string): void {
		this.#degrade({ detail: message, stage: 'stream', code: 503 });
	}

	/** Says how the channel is, as a sign of life. */
	tick(nowMs: number): void {
		// While messages wait, the feed's cursor is ahead of what was queued.
		if (this.#overtaking || (this.#gate && !this.#gate.idle)) this.#connection.keepAlive();
		else this.#connection.push(this.#healthFrame(nowMs));
	}

	/** Asks whether the channel may still be read, unless that is being asked already. */
	recheck(): void {
		if (!this.#recheck || this.#rechecking) return;
		this.#rechecking = true;
		this.#recheck().then(
			() => (this.#rechecking = false),
			(error: unknown) => this.fail(asDenial(error))
		);
	}

	/** Ends the channel for a reason that the reader is told. */
	fail(failure: Failure): void {
		if (this.#ended) return;
		const { stage, status, cause } = failure;
		const message = this.#reportOwn({
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
	start(lastEventId: string | undefined): void {
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
		// That may have been too much for the reader, who is then gone.
		if (this.#ended) return;
		if (lastEventId !== undefined && this.#feed.wasLive) {
			void this.#read(lastEventId);
			return;
		}
		this.#feed.attach(this);
		this.#resumeFrom = lastEventId;
		if (lastEventId === undefined) this.#follow();
	}

	/** Sends what followed `cursor`, then follows the feed. */
	async #read(cursor: string): Promise<void> {
		try {
			// Where the log answers at once this is done before anything else can happen.
			const caughtUp = this.#catchUp(cursor);
			if (caughtUp) await caughtUp;
		} catch (error) {
			if (this.#ended) return;
			const { channel: channelId } = this;
			this.failed(
				this.report({ stage: 'stream', status: 503, message: TEXT.store, channelId, error })
			);
		}
	}

	#follow(): void {
		if (this.#ended) return;
		this.#overtaking = null;
		if (this.#feed.status !== 'connecting') this.changed();
	}

	/** Sends what followed `cursor`, page by page, and ends where the feed goes on. */
	#catchUp(cursor: string): void | Promise<void> {
		if (this.#connection.isFull) return this.#pause(cursor);
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
		if (missed) this.#resync(missed);
		let position: string | null = missed ? null : cursor;
		let sentAny = false;
		for (const entry of entries) {
			if (sentAny && this.#connection.isFull) return this.#pause(position!);
			position = entry.cursor;
			if (entry.topic !== null && !this.topics.has(entry.topic)) continue;
			sentAny = true;
			this.#send(entry);
		}
		for (const entry of this.#overtaking ?? []) {
			if (!isAfter(entry.cursor, position)) continue;
			position = entry.cursor;
			this.#send(entry);
		}
		if (position !== null && isAfter(position, this.#feed.position)) this.#ahead = position;
		// At once: what the feed delivers before would be lost with the entries that overtook.
		this.#follow();
	}

	/** Leaves the rest in the log until the reader has taken what waits, of this channel and others. */
	async #pause(cursor: string): Promise<void> {
		this.#feed.detach(this);
		const gate = this.#gate;
		if (gate) await new Promise<void>((resolve) => gate.after(resolve));
		await this.#connection.drained();
		if (!this.#ended) await this.#catchUp(cursor);
	}

	#send(entry: LogEntry): void {
		if (!isAfter(entry.cursor, this.#ahead)) return;
		this.#ahead = null;
		if (this.#gate) this.#gate.push(entry);
		else this.#connection.push(entry.frame);
	}

	#healthFrame(nowMs: number): Uint8Array {
		const { report } = this;
		const withId = this.#connection.request.isSingle;
		return this.#feed.healthFrame(nowMs, { report, withId, cursor: this.#ahead });
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
