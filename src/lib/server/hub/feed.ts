import { EVENT } from '../../protocol/constants.js';
import { encodeEvent } from '../../protocol/frame.js';
import type { HealthPayload, ResyncPayload } from '../../protocol/health.js';
import type { GuardedStore } from '../backend/guard.js';
import { Failure, TEXT } from '../failure/failure.js';
import type { Report } from '../failure/report.js';
import { detached } from '../runtime/context.js';
import { whenReady } from '../runtime/thenable.js';
import { envelopeOf, EventKeys } from './envelope.js';
import { ChannelLog } from './log.js';
import { Readers, type FeedReader } from './readers.js';
import type { FeedSpec, SourceListener, SourceMessage } from './source.js';
import { Validation } from './validation.js';

/** What a feed needs of its hub. */
export interface FeedHost {
	/** Asks for a `flush` once the current burst of input has been handled. */
	flushSoon(feed: Feed): void;
	countMessage(): void;
	countDrop(): void;
}

/** Bounds of a feed, for tests to reach. */
export interface FeedBounds {
	/** Messages that may wait for an asynchronous schema. */
	maxValidating?: number;
	/** Events that may wait for an asynchronous store. */
	maxStoring?: number;
	/** Keys of messages remembered, to count those that are alike. */
	maxKeys?: number;
}

/**
 * One channel: validates and encodes each message once, puts it into the log, and hands it to every
 * reader of its topic. Owned by the hub, which ends it when its last reader has been gone for a while.
 */
export class Feed implements SourceListener {
	readonly channel: string;
	readonly topics: readonly string[];
	readonly log: ChannelLog;
	/** `connecting` until first confirmed; `lost` while the source is away. */
	status: 'connecting' | 'live' | 'lost' = 'connecting';
	readonly #host: FeedHost;
	readonly #readers: Readers;
	readonly #validation: Validation;
	readonly #keys: EventKeys;
	#wasLive = false;
	/** Counts the turns of the source: what a store answers late must not undo the turn after. */
	#turn = 0;
	/** The store failed, so that messages are missing from the log. */
	#owesGap = false;
	#lastFailure = '';
	#lostTexts = new Map<Report, string>();
	#position: string | null = null;
	#tick: { ts: number; cursor: string; plain: Uint8Array; withId: Uint8Array } | undefined;

	constructor(
		spec: Pick<FeedSpec, 'channel' | 'topics' | 'definitions'>,
		options: { store: GuardedStore; logKey: string; host: FeedHost; bounds?: FeedBounds }
	) {
		const { host, bounds = {} } = options;
		this.channel = spec.channel;
		this.topics = spec.topics;
		this.#host = host;
		this.#readers = new Readers(spec.channel);
		this.#keys = new EventKeys(bounds.maxKeys);
		this.#validation = new Validation(
			spec.definitions,
			{
				valid: (message, data) => this.#append(message, data),
				invalid: (message, reason) => this.#drop(message, reason),
				gap: () => this.#appendGap(),
				overflow: (first) => this.#overflow(first)
			},
			bounds.maxValidating
		);
		this.log = new ChannelLog(
			options.store,
			options.logKey,
			{
				entries: (entries) => {
					this.#readers.add(entries);
					host.flushSoon(this);
				},
				missed: () => this.gap(),
				error: (error) => this.#storeFailed(error)
			},
			bounds.maxStoring
		);
	}

	get readers(): number {
		return this.#readers.size;
	}

	/** Whether it was live at any time, so that there is something to come back to. */
	get wasLive(): boolean {
		return this.#wasLive;
	}

	/** Position up to which everything was handed to the readers; `null` before the feed is live. */
	get position(): string | null {
		return this.#position;
	}

	/** Adds a reader, which receives everything that comes from now on. */
	attach(reader: FeedReader): void {
		// What others receive now does not belong to the new reader's request.
		detached(() => {
			if (this.#owesGap && this.#wasLive) this.gap();
			this.flush();
		});
		this.#readers.attach(reader);
	}

	detach(reader: FeedReader): void {
		this.#readers.detach(reader);
	}

	/** Hands on what is pending: to each reader, everything of this tick at once. */
	flush(): void {
		const { cursor } = this.log;
		this.#readers.flush();
		this.#position = cursor;
	}

	/**
	 * The frame that says how the feed is now; made once per moment for all readers.
	 *
	 * @param options With a `cursor` for a reader that is ahead of the feed.
	 */
	healthFrame(
		nowMs: number,
		options: { report: Report; withId: boolean; cursor: string | null }
	): Uint8Array {
		const { channel, status } = this;
		if (status !== 'live') {
			const detail = this.#lostTexts.get(options.report);
			const health: HealthPayload = { ok: false, status: 'connecting', ts: nowMs, channel };
			if (detail !== undefined) health.detail = detail;
			return encodeEvent(EVENT.health, JSON.stringify(health));
		}
		const cursor = options.cursor ?? this.#position!;
		if (this.#tick?.ts !== nowMs || this.#tick.cursor !== cursor) {
			const health: HealthPayload = { ok: true, status: 'connected', ts: nowMs, channel, cursor };
			const json = JSON.stringify(health);
			this.#tick = {
				ts: nowMs,
				cursor,
				plain: encodeEvent(EVENT.health, json),
				withId: encodeEvent(EVENT.health, json, cursor)
			};
		}
		return options.withId ? this.#tick.withId : this.#tick.plain;
	}

	live(): void {
		const turn = ++this.#turn;
		const announce = (isNew: boolean): void => {
			if (turn !== this.#turn) return;
			// A log that goes on, in this process or from another one, has not seen what came meanwhile.
			if (!isNew || this.#wasLive) this.gap();
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
		try {
			void whenReady(
				this.log.open(),
				({ isNew }) => announce(isNew),
				(error) => this.#storeFailed(error)
			);
		} catch (error) {
			this.#storeFailed(error);
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
		// Readers wait on; their endpoints are told when it is for another reason.
		else if (error.message !== this.#lastFailure) this.#reportLoss(error);
	}

	gap(): void {
		this.#validation.gap();
	}

	message(message: SourceMessage): void {
		this.#host.countMessage();
		this.#validation.push(message);
	}

	/** Ends the epoch. */
	close(): void {
		this.#turn++;
		this.#readers.end();
		this.log.release();
		this.#validation.clear();
	}

	#overflow(first: boolean): void {
		this.#host.countDrop();
		if (!first) return;
		this.#readers.report(
			new Failure(
				'stream',
				500,
				`Messages of "${this.channel}" were dropped: too many wait for an asynchronous schema.`
			)
		);
		this.gap();
	}

	#drop({ topic }: SourceMessage, cause: unknown): void {
		this.#host.countDrop();
		this.#readers.report(
			new Failure(
				'stream',
				500,
				`A message of "${this.channel}" on topic "${topic}" does not match the topic's schema and was dropped.`,
				{ cause }
			)
		);
	}

	#appendGap(): void {
		this.#owesGap = false;
		const { channel } = this;
		const payload: ResyncPayload = { channel, reason: 'upstream-gap', ts: Date.now() };
		const key = `gap\n${payload.ts}\n${Math.random()}`;
		this.log.append({ key, kind: 'resync', topic: null, payload: JSON.stringify(payload) });
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
			// Only a store shared with other processes asks for it.
			get key() {
				return (key ??= keys.keyOf(message));
			}
		});
	}

	/** Calls back when what was appended has been handed on: at once, where the store is in memory. */
	#afterLog(callback: () => void): void {
		void whenReady(this.log.settled(), callback);
	}

	#storeFailed(error: unknown): void {
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
