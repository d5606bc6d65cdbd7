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
	/** The topics that may be read. */
	topics: ReadonlySet<string>;
	/** Checks each message before it is sent, and may change or skip it. */
	check?: Check | undefined;
	/** Checks the right to read the channel; rejects with a `Failure` if it is revoked or cannot be checked. */
	recheck?: (() => Promise<void>) | undefined;
	/** Reports a failed check for its request. */
	report?: Report | undefined;
	/** Who the reader is among the members of the channel. */
	memberId?: string | undefined;
	/** Called when the reader knows that it is connecting. The result ends with the channel. */
	attend?: ((reader: PresentReader) => PresentEnd) | undefined;
}

/** A reader that takes part in presence. */
export interface PresentReader {
	/** The name of its stream. */
	readonly name: string;
	/** Whether it has taken everything that it was sent. */
	readonly hasRoom: boolean;
	/** Resolves when it may have room again, or is gone. */
	whenRoom(): Promise<void>;
	/** Writes a frame. */
	push(chunk: Uint8Array): void;
	/** Writes the pieces of a frame of any size; only to a reader that has room. */
	pushSync(chunks: readonly Uint8Array[]): void;
	/** Ends the channel for a reason that the reader is told. */
	refuse(failure: Failure): void;
	/** Ends the whole stream. */
	lost(): void;
	/** Runs work in the request of the stream. */
	run(work: () => void): void;
}

/** Ends a reader's part in presence. */
export interface PresentEnd {
	/** @param atOnce Whether its right was revoked, so that it will not come back. */
	end(atOnce: boolean): void;
}

/** One channel of one connection: writes what its tail reads into the stream, each message after its check. */
export class Subscription implements ConnectionChannel, TailConsumer {
	readonly #connection: Connection;
	readonly #tail: Tail;
	readonly #gate: Gate | undefined;
	readonly #report: Report;
	readonly #recheck: (() => Promise<void>) | undefined;
	readonly memberId: string | undefined;
	#attend: SubscriptionSpec['attend'];
	#present: PresentEnd | undefined;
	#rechecking = false;
	#ended = false;
	/** The reader was refused. */
	#isRefused = false;

	constructor(connection: Connection, hub: Hub, spec: SubscriptionSpec, report: Report) {
		this.#connection = connection;
		this.#recheck = spec.recheck;
		this.#attend = spec.attend;
		this.memberId = spec.memberId;
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

	get hasEnded(): boolean {
		return this.#ended;
	}

	get canRecheck(): boolean {
		return this.#recheck !== undefined;
	}

	get topics(): ReadonlySet<string> {
		return this.#tail.topics;
	}

	get isFull(): boolean {
		return this.#connection.hasPage;
	}

	/** Starts to read. */
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
		// The reader may have been closed because this was too much for it.
		if (this.#ended) return;
		const connection = this.#connection;
		this.#present = this.#attend?.({
			name: connection.request.name,
			get hasRoom() {
				return connection.hasRoom;
			},
			whenRoom: () => connection.drained(),
			push: (chunk) => connection.push(chunk),
			pushSync: (chunks) => {
				for (const chunk of chunks) connection.pushFreely(chunk);
			},
			refuse: (failure) => this.run(() => this.fail(failure)),
			lost: () => this.run(() => connection.end('silent')),
			run: (work) => this.run(work)
		});
		this.#attend = undefined;
		this.#tail.start(start);
	}

	take(entry: LogEntry): void {
		if (this.#gate) this.#gate.push(entry);
		else this.#connection.deliver(entry.frame);
	}

	send(entry: LogEntry): boolean {
		if (this.#ended || entry.topic === null || !this.topics.has(entry.topic)) return false;
		this.take(entry);
		return true;
	}

	takeBatch(batch: Batch): void {
		if (this.#gate) for (const entry of batch.entries) this.#gate.push(entry);
		else this.#connection.deliver(batch.chunk);
		// The rest waits in the log, so messages that are superseded meanwhile are never sent.
		if (this.#tail.canSkip && this.#connection.isBehind && !this.#ended) {
			this.#tail.pauseAfter(batch.entries.at(-1)!.cursor);
		}
	}

	missed(reason: ResyncReason): void {
		this.#tail.feed.countMissed(reason);
		const payload: ResyncPayload = { channel: this.channel, reason, ts: Date.now() };
		this.#connection.push(encodeEvent(EVENT.resync, JSON.stringify(payload)));
	}

	changed(): void {
		// The frame is created now and sent in the gate's order: its cursor stands for everything queued before it.
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

	/** Sends the channel's health, to show that the stream is alive. */
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
		this.#isRefused = code < 500;
		const place = { channelId: this.channel, topics: [...this.#tail.topics] };
		this.#degrade({ detail: this.#report(failure, place), stage, code, fatal });
	}

	/** Leaves the feed. */
	end(): void {
		if (this.#ended) return;
		this.#ended = true;
		this.#gate?.shut();
		this.#tail.end();
		this.#present?.end(this.#isRefused);
	}

	run(work: () => void): void {
		this.#connection.run(work);
	}

	#healthFrame(nowMs: number): Uint8Array {
		const { feed, report, ahead: cursor } = this.#tail;
		const { limitation, request } = this.#connection;
		return feed.healthFrame(nowMs, { report, withId: request.isSingle, cursor, limitation });
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
