import { EVENT } from '../../protocol/constants.js';
import { encodeEvent } from '../../protocol/frame.js';
import type { HealthPayload, ResyncPayload, ResyncReason } from '../../protocol/health.js';
import { Failure, TEXT } from '../failure/failure.js';
import type { Report } from '../failure/report.js';
import type { Batch } from '../hub/batch.js';
import type { LogEntry } from '../hub/entry.js';
import type { Hub } from '../hub/hub.js';
import type { FeedSpec } from '../hub/source.js';
import { Tail, type TailConsumer, type TailStart } from '../hub/tail.js';
import type { Connection, ConnectionChannel } from './connection.js';
import { Gate, type Check } from './gate.js';

/** One channel of a request, resolved and authorized. */
export interface SubscriptionSpec {
	feed: FeedSpec;
	/** What may be read. */
	topics: ReadonlySet<string>;
	/** Checks each message before it is sent. */
	check?: Check | undefined;
	/** Checks the right to read at all; rejects with a `Failure` when it is gone or cannot be told. */
	recheck?: (() => Promise<void>) | undefined;
	/** Reports a failed check as one of its request. */
	report?: Report | undefined;
}

/** One channel of one connection: writes what its tail reads into the stream, each message after its check. */
export class Subscription implements ConnectionChannel, TailConsumer {
	readonly #connection: Connection;
	readonly #tail: Tail;
	readonly #gate: Gate | undefined;
	readonly #report: Report;
	readonly #recheck: (() => Promise<void>) | undefined;
	#rechecking = false;
	#ended = false;

	constructor(connection: Connection, hub: Hub, spec: SubscriptionSpec, report: Report) {
		this.#connection = connection;
		this.#recheck = spec.recheck;
		this.#report = spec.report ?? report;
		this.#tail = new Tail(hub, spec.feed, { topics: spec.topics, report }, this);
		if (spec.check) {
			this.#gate = new Gate(spec.check, {
				pass: (entry) => connection.deliver(entry.frame),
				deny: (error) => this.fail(asFailure(error)),
				held: (bytes) => connection.hold(bytes)
			});
		}
	}

	get channel(): string {
		return this.#tail.feed.channel;
	}

	get isFull(): boolean {
		return this.#connection.hasPage;
	}

	/** Begins to read. */
	start(start: TailStart): void {
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
		// The reader may have been closed because that was too much.
		if (!this.#ended) this.#tail.start(start);
	}

	take(entry: LogEntry): void {
		if (this.#gate) this.#gate.push(entry);
		else this.#connection.deliver(entry.frame);
	}

	takeBatch(batch: Batch): void {
		if (this.#gate) for (const entry of batch.entries) this.#gate.push(entry);
		else this.#connection.deliver(batch.chunk);
	}

	missed(reason: ResyncReason): void {
		const payload: ResyncPayload = { channel: this.channel, reason, ts: Date.now() };
		this.#connection.push(encodeEvent(EVENT.resync, JSON.stringify(payload)));
	}

	changed(): void {
		// The frame is made now and sent in the gate's order: its cursor stands for what was queued before it.
		const frame = this.#healthFrame(Date.now());
		if (this.#gate) this.#gate.after(() => this.#connection.push(frame));
		else this.#connection.push(frame);
	}

	failed(detail: string): void {
		this.#degrade({ detail, stage: 'stream', code: 503 });
	}

	async drained(): Promise<void> {
		const gate = this.#gate;
		if (gate) await new Promise<void>((resolve) => gate.after(resolve));
		await this.#connection.drained();
	}

	/** Sends the channel's health, as a sign of life. */
	tick(nowMs: number): void {
		// While messages wait, the feed's cursor is ahead of what was queued.
		const isBehind = !this.#tail.isFollowing || (this.#gate && !this.#gate.idle);
		if (isBehind) this.#connection.keepAlive();
		else this.#connection.push(this.#healthFrame(nowMs));
	}

	/** Checks whether the channel may still be read, unless such a check is running. */
	recheck(): void {
		if (!this.#recheck || this.#rechecking) return;
		this.#rechecking = true;
		this.#recheck().then(
			() => (this.#rechecking = false),
			(error: unknown) => this.fail(asFailure(error))
		);
	}

	/** Ends the channel and tells its reader why. */
	fail(failure: Failure): void {
		if (this.#ended) return;
		const { stage, status: code, isFatal: fatal } = failure;
		const place = { channelId: this.channel, topics: [...this.#tail.topics] };
		this.#degrade({ detail: this.#report(failure, place), stage, code, fatal });
	}

	/** Lets go of the feed. */
	end(): void {
		if (this.#ended) return;
		this.#ended = true;
		this.#gate?.shut();
		this.#tail.end();
	}

	#healthFrame(nowMs: number): Uint8Array {
		const { feed, report, ahead: cursor } = this.#tail;
		return feed.healthFrame(nowMs, { report, withId: this.#connection.request.isSingle, cursor });
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

function asFailure(error: unknown): Failure {
	return error instanceof Failure
		? error
		: new Failure('reauthorization', 503, TEXT.unchecked, { cause: error });
}
