import { EVENT } from '../../protocol/constants.js';
import { compareCursors, UNKNOWN_CURSOR } from '../../protocol/cursor.js';
import { encodeEvent } from '../../protocol/frame.js';
import type { HealthPayload, ResyncPayload, ResyncReason } from '../../protocol/health.js';
import { quoted } from '../../protocol/quote.js';
import type { Published } from '../backend/backend.js';
import type { ReplayEvent } from '../backend/replay.js';
import { Failure, TEXT } from '../failure/failure.js';
import type { Report } from '../failure/report.js';
import { detached } from '../runtime/context.js';
import { whenReady, type Answer } from '../runtime/thenable.js';
import type { DropCause, HubMeters } from '../metrics/hubMeters.js';
import { envelopeOf, EventKeys } from './envelope.js';
import type { LogEntry } from './entry.js';
import { FeedMeter, type Busyness } from './feedMeter.js';
import type { Log, LogEvents } from './log.js';
import { Readers, type FeedReader } from './readers.js';
import type { FeedSpec, SourceListener, SourceMessage } from './source.js';
import type { FollowedLogEvents } from './followedLog.js';
import type { SharedLogEvents } from './sharedLog.js';
import { Validation } from './validation.js';

/** What a feed needs of its hub. */
export interface FeedHost {
	/** Asks for a `flush` once the current burst of input has been handled. */
	flushSoon(feed: Feed): void;
	countMessage(): void;
	countDrop(cause: DropCause): void;
	readonly meters: HubMeters;
}

/** What any kind of log tells its feed. */
export type FeedLogEvents = LogEvents & SharedLogEvents & FollowedLogEvents;

/** Bounds of a feed, which tests lower. */
export interface FeedBounds {
	/** Most messages that may wait for an asynchronous schema. */
	maxValidating?: number;
	/** Most keys of messages that are remembered, to count equal ones. */
	maxKeys?: number;
}

/** Most keys of emitted events that are remembered. */
const MAX_EMITTED = 10_000;

/**
 * One channel: validates and encodes each message once, puts it into the log, and hands it to every
 * reader of its topic. Owned by the hub, which ends it when its last reader has been gone for a while.
 */
export class Feed implements SourceListener {
	readonly channel: string;
	readonly topics: readonly string[];
	readonly log: Log;
	/** `connecting` until first confirmed; `lost` while the source is unavailable. */
	status: 'connecting' | 'live' | 'lost' = 'connecting';
	readonly #host: FeedHost;
	readonly #readers: Readers;
	readonly #validation: Validation;
	readonly #keys: EventKeys;
	readonly #meter: FeedMeter;
	/** Entries delivered since the last flush. */
	#unflushed: LogEntry[] = [];
	/** Cursors of messages emitted here, by key. */
	readonly #emitted = new Map<string, Answer<string>>();
	/** Callers that wait until the entry at a cursor is delivered. */
	readonly #awaited = new Map<() => void, string>();
	#wasLive = false;
	/** Counts the changes of the source's state: a late answer of a store must not undo a later change. */
	#turn = 0;
	/** The store failed, so messages are missing from the log. */
	#owesGap = false;
	#storeFailures: { readonly count: number; readonly last: unknown } = {
		count: 0,
		last: undefined
	};
	#lastFailure = '';
	#lostTexts = new Map<Report, string>();
	#position: string | null = null;
	#tick:
		| {
				ts: number;
				cursor: string;
				detail: string | undefined;
				plain: Uint8Array;
				withId: Uint8Array;
		  }
		| undefined;

	/** @param createLog Creates the log, which calls the feed back. */
	constructor(
		spec: Pick<FeedSpec, 'channel' | 'entry' | 'topics' | 'definitions' | 'callbackTimeoutMs'>,
		options: { createLog: (events: FeedLogEvents) => Log; host: FeedHost; bounds?: FeedBounds }
	) {
		const { host, createLog, bounds = {} } = options;
		this.channel = spec.channel;
		this.topics = spec.topics;
		this.#host = host;
		this.#readers = new Readers(spec.channel);
		this.#keys = new EventKeys(bounds.maxKeys);
		this.#meter = new FeedMeter(host.meters, spec.entry);
		this.#validation = new Validation(
			spec.definitions,
			{
				valid: (message, data) => this.#append(message, data),
				invalid: (message, reason, callback) => this.#drop(message, reason, callback),
				gap: () => this.#appendGap(),
				overflow: (first) => this.#overflow(first)
			},
			{ maxWaiting: bounds.maxValidating, timeoutMs: spec.callbackTimeoutMs }
		);
		this.log = createLog({
			entries: (entries) => {
				this.#readers.add(entries);
				this.#unflushed.push(...entries);
				host.flushSoon(this);
			},
			missed: () => this.gap(),
			error: (error) => this.#storeFailed(error),
			gap: () => this.gap(),
			gapEvent: (key) => this.#gapEvent(key),
			limited: () => {
				if (this.status === 'live') this.#readers.tellChanged();
			},
			isLive: () => this.status === 'live',
			invalid: (topic, reason) => this.#drop({ topic }, reason)
		});
	}

	get readers(): number {
		return this.#readers.size;
	}

	/** How busy it is. */
	get busyness(): Busyness {
		return this.#meter.read();
	}

	/** Call this when a reader was told that messages may be missing. */
	countMissed(reason: ResyncReason): void {
		this.#meter.missed(reason);
	}

	/** Whether it was ever live, so that there is something to come back to. */
	get wasLive(): boolean {
		return this.#wasLive;
	}

	/** Position up to which everything was delivered to the readers; `null` before the feed is live. */
	get position(): string | null {
		return this.#position;
	}

	/** Adds a reader, which receives everything that comes from now on. */
	attach(reader: FeedReader): void {
		// What other readers receive must not run in the context of the new reader's request.
		detached(() => {
			if (this.#owesGap && this.#wasLive) this.gap();
			this.flush();
		});
		this.#readers.attach(reader);
	}

	detach(reader: FeedReader): void {
		this.#readers.detach(reader);
	}

	/** Delivers what is pending: to each reader, everything of this tick at once. */
	flush(): void {
		const { cursor } = this.log;
		this.#readers.flush();
		this.#position = cursor;
		this.#countHandedOn();
		for (const [resolve, awaited] of this.#awaited) {
			if (!this.#hasHandedOn(awaited)) continue;
			this.#awaited.delete(resolve);
			resolve();
		}
	}

	#countHandedOn(): void {
		if (this.#unflushed.length === 0) return;
		this.#meter.count(this.#unflushed, this.#readers.size);
		this.#unflushed = [];
	}

	/** Resolves with the number of readers, once the entry at a cursor has been delivered to them. */
	async delivered(cursor: string): Promise<number> {
		if (!this.#hasHandedOn(cursor)) {
			await new Promise<void>((resolve) => this.#awaited.set(resolve, cursor));
		}
		return this.readers;
	}

	#hasHandedOn(cursor: string): boolean {
		// If the epoch has changed, it will never come.
		return this.#position !== null && (compareCursors(this.#position, cursor) ?? 0) >= 0;
	}

	/**
	 * The frame with the current state of the feed; created once for all readers.
	 *
	 * @param options Has a `cursor` for a reader that is ahead of the feed.
	 */
	healthFrame(
		nowMs: number,
		options: {
			report: Report;
			withId: boolean;
			cursor: string | null;
			limitation: string | undefined;
		}
	): Uint8Array {
		const { channel, status } = this;
		if (status !== 'live') {
			const detail = this.#lostTexts.get(options.report);
			const health: HealthPayload = { ok: false, status: 'connecting', ts: nowMs, channel };
			if (detail !== undefined) health.detail = detail;
			return encodeEvent(EVENT.health, JSON.stringify(health));
		}
		const cursor = options.cursor ?? this.#position!;
		const detail = this.log.limitation ?? options.limitation;
		const tick = this.#tick;
		if (tick?.ts !== nowMs || tick.cursor !== cursor || tick.detail !== detail) {
			const health: HealthPayload = { ok: true, status: 'connected', ts: nowMs, channel, cursor };
			if (detail !== undefined) health.detail = detail;
			const json = JSON.stringify(health);
			this.#tick = {
				ts: nowMs,
				cursor,
				detail,
				plain: encodeEvent(EVENT.health, json),
				withId: encodeEvent(EVENT.health, json, cursor)
			};
		}
		return options.withId ? this.#tick!.withId : this.#tick!.plain;
	}

	live(): void {
		const turn = ++this.#turn;
		const announce = (isComplete: boolean): void => {
			if (turn !== this.#turn) return;
			// A log that continues has not seen what came meanwhile. Before the first time nobody followed it.
			if (this.#wasLive) this.gap();
			else {
				if (!isComplete) this.#appendGap(true);
				this.#validation.release();
			}
			this.#wasLive = true;
			this.#afterLog(() => {
				if (turn !== this.#turn) return;
				this.flush();
				this.status = 'live';
				this.#lostTexts.clear();
				this.#readers.tellChanged();
			});
		};
		if (this.#wasLive) return announce(false);
		const fail = (error: unknown): void => {
			this.#storeFailed(error);
			this.#validation.release();
		};
		// This may find a gap. What arrives before the log is open belongs after it.
		this.#validation.hold();
		try {
			void whenReady(this.log.open(), ({ isComplete }) => announce(isComplete), fail);
		} catch (error) {
			fail(error);
		}
	}

	lost(error: Error): void {
		this.#turn++;
		this.flush();
		this.status = 'lost';
		this.#reportLoss(error);
		this.#readers.tellChanged();
	}

	failed(error: Error): void {
		if (!this.#wasLive) this.#fail(TEXT.upstream, error);
		// Readers keep waiting; their endpoints are told when the reason changes.
		else if (error.message !== this.#lastFailure) this.#reportLoss(error);
	}

	gap(): void {
		this.#validation.gap();
	}

	message(message: SourceMessage): void {
		this.#host.countMessage();
		this.#validation.push(message);
	}

	/**
	 * Publishes an event without the source. An event whose key was emitted before is not published again.
	 *
	 * @returns its cursor; if the store takes it later, a cursor from which it is not missed.
	 * @throws the error of the store; the event can then be emitted again.
	 */
	async emit(event: ReplayEvent): Promise<Published> {
		const known = this.#emitted.get(event.key);
		if (known !== undefined) return { cursor: await known, isDuplicate: true };
		const cursor = this.#store(event);
		this.#emitted.set(event.key, cursor);
		if (this.#emitted.size > MAX_EMITTED) {
			this.#emitted.delete(this.#emitted.keys().next().value!);
		}
		try {
			return { cursor: await cursor, isDuplicate: false };
		} catch (error) {
			this.#emitted.delete(event.key);
			throw error;
		}
	}

	/** Appends an event. @throws the error of the store, if it failed meanwhile. */
	#store(event: ReplayEvent): Answer<string> {
		const { count } = this.#storeFailures;
		this.log.append(event);
		return whenReady(this.log.settled(), () => {
			const failures = this.#storeFailures;
			if (failures.count > count) throw failures.last;
			return this.log.cursor ?? UNKNOWN_CURSOR;
		});
	}

	/** The log was erased: readers are told that messages may be missing. */
	cleared(): void {
		this.gap();
	}

	/** Ends the epoch. */
	close(): void {
		this.#turn++;
		for (const resolve of this.#awaited.keys()) resolve();
		this.#readers.end();
		this.log.release();
		this.#validation.clear();
	}

	#overflow(first: boolean): void {
		this.#host.countDrop('overflow');
		if (!first) return;
		this.#readers.report(
			new Failure(
				'stream',
				500,
				`Messages of ${quoted(this.channel)} were dropped: too many wait for an asynchronous schema.`
			)
		);
		this.gap();
	}

	#drop({ topic }: Pick<SourceMessage, 'topic'>, cause: unknown, callback?: string): void {
		this.#host.countDrop('invalid');
		this.#readers.report(
			new Failure(
				'stream',
				500,
				`A message of ${quoted(this.channel)} on topic ${quoted(topic)} does not match the topic's schema and was dropped.`,
				{ cause, callback }
			)
		);
	}

	#appendGap(isQuiet = false): void {
		this.#owesGap = false;
		this.log.append(this.#gapEvent(`gap\n${Date.now()}\n${Math.random()}`), isQuiet);
	}

	#gapEvent(key: string): ReplayEvent {
		const { channel } = this;
		const payload: ResyncPayload = { channel, reason: 'upstream-gap', ts: Date.now() };
		return { key, kind: 'resync', topic: null, payload: JSON.stringify(payload) };
	}

	#append(message: SourceMessage, data: unknown): void {
		if (this.#owesGap) this.#appendGap();
		let payload: string;
		try {
			payload = JSON.stringify(envelopeOf(message, data));
		} catch (error) {
			this.#drop(message, error);
			return;
		}
		const keys = this.#keys;
		let key: string | undefined;
		this.log.append({
			kind: 'message',
			topic: message.topic,
			payload,
			// Only a store that is shared with other processes asks for it.
			get key() {
				return (key ??= keys.keyOf(message));
			}
		});
	}

	/** Calls back when everything appended has been delivered: at once, if the store is in memory. */
	#afterLog(callback: () => void): void {
		void whenReady(this.log.settled(), callback);
	}

	#storeFailed(error: unknown): void {
		this.#storeFailures = { count: this.#storeFailures.count + 1, last: error };
		this.#owesGap = true;
		this.#fail(TEXT.store, error);
	}

	#reportLoss(cause: Error): void {
		this.#lastFailure = cause.message;
		this.#lostTexts = this.#readers.report(
			new Failure('stream', 503, TEXT.upstreamLost, { cause })
		);
	}

	#fail(text: string, cause: unknown): void {
		this.#readers.fail(new Failure('stream', 503, text, { cause }));
	}
}
