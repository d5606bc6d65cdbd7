import type { StandardSchemaV1 } from '@standard-schema/spec';
import { EVENT } from '../protocol/constants.js';
import { topicSchema, type TopicDefinitions } from '../protocol/channel.js';
import { encodeEvent } from '../protocol/frame.js';
import type { HealthPayload, ResyncPayload } from '../protocol/health.js';
import type { RealtimeTopicEnvelope } from '../protocol/types.js';
import { joinBytes } from './body.js';
import { type Report, TEXT } from './failure.js';
import { fingerprint } from './fingerprint.js';
import { ChannelLog, type LogEntry } from './log.js';
import type { UpstreamMessage } from './message.js';
import type { ReplayStore } from './replay.js';
import { detached } from './node.js';
import type { UpstreamListener } from './upstream.js';

/** Entries of one tick for all readers of the same topics; joined once, when the first asks. */
export class Batch {
	readonly entries: readonly LogEntry[];
	#chunk: Uint8Array | undefined;

	constructor(entries: readonly LogEntry[]) {
		this.entries = entries;
	}

	get chunk(): Uint8Array {
		return (this.#chunk ??= joinBytes(this.entries.map(({ frame }) => frame)));
	}
}

/** Somebody who reads topics of a feed. */
export interface FeedReader {
	readonly topics: ReadonlySet<string>;
	readonly report: Report;
	deliver(batch: Batch): void;
	/** The feed's `status` changed. */
	changed(): void;
	/** The feed could not be brought live; the reader is let go. */
	failed(message: string): void;
}

/** What a feed needs of its hub. */
export interface FeedHost {
	/** Asks for a `flush` once the current burst of input has been handled. */
	flushSoon(feed: Feed): void;
	countMessage(): void;
	countDrop(): void;
}

interface Group {
	readonly topics: ReadonlySet<string>;
	readonly readers: Set<FeedReader>;
	pending: LogEntry[];
}

/** A message, and its data as the topic's schema gives it. */
interface Validated {
	readonly message: UpstreamMessage;
	readonly data: unknown;
}

/** Messages that may wait for an asynchronous schema; past that they are dropped and announced. */
const MAX_WAITING = 10_000;

/** Fingerprints remembered to tell apart messages that are alike. */
const MAX_ALIKE = 1_000;

/**
 * One channel: decodes, validates and encodes each message once and hands it to every reader of its
 * topic. Owned by the hub, which ends it when its last reader has been gone for a while.
 */
export class Feed implements UpstreamListener {
	readonly channel: string;
	readonly topics: readonly string[];
	readonly log: ChannelLog;
	/** `connecting` until first confirmed; `lost` while the upstream is away. */
	status: 'connecting' | 'live' | 'lost' = 'connecting';
	readonly #definitions: TopicDefinitions;
	readonly #host: FeedHost;
	readonly #groups = new Map<string, Group>();
	/** Endpoints whose readers read this feed, and how many those are. */
	readonly #reports = new Map<Report, number>();
	readonly #alike = new Map<string, number>();
	/** Messages, and gaps as `null`, that wait for an asynchronous schema. */
	#waiting: (UpstreamMessage | null)[] = [];
	#validating = false;
	#overflowed = false;
	#wasLive = false;
	/** Counts the turns of the upstream: what a store answers late must not undo the turn after. */
	#turn = 0;
	/** The store failed, so that messages are missing from the log. */
	#owesGap = false;
	#lastFailure = '';
	#lostTexts = new Map<Report, string>();
	#position: string | null = null;
	#tick: { ts: number; cursor: string; plain: Uint8Array; withId: Uint8Array } | undefined;

	constructor(options: {
		channel: string;
		topics: readonly string[];
		definitions: TopicDefinitions;
		store: ReplayStore;
		storeKey: string;
		host: FeedHost;
	}) {
		this.channel = options.channel;
		this.topics = options.topics;
		this.#definitions = options.definitions;
		this.#host = options.host;
		this.log = new ChannelLog(options.store, options.storeKey, {
			onEntries: (entries) => this.#publish(entries),
			onMissed: () => this.gap(),
			onError: (error) => this.#storeFailed(error)
		});
	}

	get readers(): number {
		let readers = 0;
		for (const group of this.#groups.values()) readers += group.readers.size;
		return readers;
	}

	/** Whether it was live at any time, so that there is something to come back to. */
	get wasLive(): boolean {
		return this.#wasLive;
	}

	/** Position up to which everything was handed to the readers; `null` before the feed is live. */
	get position(): string | null {
		return this.#position;
	}

	/** Adds a reader: it is given everything that comes from now on. */
	attach(reader: FeedReader): void {
		// What others are given now is none of the new reader's request.
		detached(() => {
			if (this.#owesGap && this.#wasLive) this.gap();
			this.flush();
		});
		const key = JSON.stringify([...reader.topics].sort());
		let group = this.#groups.get(key);
		if (!group) {
			group = { topics: reader.topics, readers: new Set(), pending: [] };
			this.#groups.set(key, group);
		}
		if (group.readers.has(reader)) return;
		group.readers.add(reader);
		this.#reports.set(reader.report, (this.#reports.get(reader.report) ?? 0) + 1);
	}

	detach(reader: FeedReader): void {
		for (const [key, group] of this.#groups) {
			if (!group.readers.delete(reader)) continue;
			if (group.readers.size === 0) this.#groups.delete(key);
			const left = this.#reports.get(reader.report)! - 1;
			if (left > 0) this.#reports.set(reader.report, left);
			else this.#reports.delete(reader.report);
		}
	}

	/** Hands on what is pending: to each reader, everything of this tick at once. */
	flush(): void {
		const { cursor } = this.log;
		for (const group of this.#groups.values()) {
			if (group.pending.length === 0) continue;
			const batch = new Batch(group.pending);
			group.pending = [];
			for (const reader of group.readers) this.#call(reader, () => reader.deliver(batch));
		}
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
				this.#tellReaders();
			});
		};
		if (this.#wasLive) return announce(false);
		try {
			const opened = this.log.open();
			if (opened instanceof Promise) {
				opened.then(
					({ isNew }) => announce(isNew),
					(error: unknown) => this.#storeFailed(error)
				);
			} else announce(opened.isNew);
		} catch (error) {
			this.#storeFailed(error);
		}
	}

	lost(error: Error): void {
		this.#turn++;
		this.flush();
		this.status = 'lost';
		this.#reportLoss(error);
		this.#tellReaders();
	}

	failed(error: Error): void {
		if (!this.#wasLive) this.#fail(TEXT.upstream, error);
		// Readers wait on; their endpoints are told when it is for another reason.
		else if (error.message !== this.#lastFailure) this.#reportLoss(error);
	}

	gap(): void {
		if (this.#validating) this.#waiting.push(null);
		else this.#appendGap();
	}

	message(message: UpstreamMessage): void {
		this.#host.countMessage();
		if (this.#validating) {
			if (this.#waiting.length < MAX_WAITING) this.#waiting.push(message);
			else this.#overflow();
			return;
		}
		const validated = this.#validate(message);
		if (validated instanceof Promise) void this.#validateInOrder(validated);
		else if (validated) this.#append(validated);
	}

	/** Ends the epoch. */
	close(): void {
		this.#turn++;
		this.log.release();
		this.#waiting = [];
	}

	/** @returns the message and its data as the schema gives it, `null` if it is invalid. */
	#validate(message: UpstreamMessage): Validated | null | Promise<Validated | null> {
		const { data } = message;
		if (message.kind !== 'data') return { message, data };
		const check = (result: StandardSchemaV1.Result<unknown>): Validated | null => {
			if (!result.issues) return { message, data: result.value };
			this.#drop(message, result.issues);
			return null;
		};
		try {
			const schema = topicSchema(this.#definitions[message.topic]);
			if (!schema) return { message, data };
			const result = schema['~standard'].validate(data);
			if (!(result instanceof Promise)) return check(result);
			return result.then(check).catch((error: unknown) => {
				this.#drop(message, error);
				return null;
			});
		} catch (error) {
			this.#drop(message, error);
			return null;
		}
	}

	async #validateInOrder(first: Promise<Validated | null>): Promise<void> {
		this.#validating = true;
		let validated = await first;
		for (;;) {
			if (validated) this.#append(validated);
			const next = this.#waiting.shift();
			if (next === undefined) break;
			if (next === null) this.#appendGap();
			validated = next && (await this.#validate(next));
		}
		this.#validating = false;
		this.#overflowed = false;
	}

	#overflow(): void {
		this.#host.countDrop();
		if (this.#overflowed) return;
		this.#overflowed = true;
		this.#reportAll(
			`Messages of "${this.channel}" were dropped: ${MAX_WAITING} wait for an asynchronous schema.`,
			500
		);
		this.gap();
	}

	#drop(message: UpstreamMessage, error: unknown): void {
		this.#host.countDrop();
		this.#reportAll(
			`A message of "${this.channel}" on topic "${message.topic}" does not match the topic's schema and was dropped.`,
			500,
			error
		);
	}

	#appendGap(): void {
		this.#owesGap = false;
		const payload: ResyncPayload = {
			channel: this.channel,
			reason: 'upstream-gap',
			ts: Date.now()
		};
		const key = `gap\n${payload.ts}\n${Math.random()}`;
		this.log.append({ key, topic: null, payload: JSON.stringify(payload) });
	}

	#append({ message, data }: Validated): void {
		if (this.#owesGap) this.#appendGap();
		const { channel, topic, runId, fnId, envId, kind, streamId } = message;
		const created = new Date(message.createdAt ?? Date.now());
		const envelope: RealtimeTopicEnvelope = {
			channel,
			topic,
			data,
			...(runId !== undefined && { runId }),
			...(fnId !== undefined && { fnId }),
			...(envId !== undefined && { envId }),
			createdAt: (Number.isNaN(created.getTime()) ? new Date() : created).toISOString(),
			kind,
			...(streamId !== undefined && { streamId })
		};
		let payload: string;
		try {
			payload = JSON.stringify(envelope);
		} catch (error) {
			this.#drop(message, error);
			return;
		}
		let key: string | undefined;
		const makeKey = (): string => this.#key(message);
		this.log.append({
			topic,
			payload,
			// Only a store shared with other processes asks for it.
			get key() {
				return (key ??= makeKey());
			}
		});
	}

	/**
	 * A fingerprint, and how many before were alike. Of the data as it came: what a schema makes of it may
	 * differ from process to process.
	 */
	#key(message: UpstreamMessage): string {
		const print = fingerprint(message);
		const occurrence = (this.#alike.get(print) ?? 0) + 1;
		this.#alike.delete(print);
		this.#alike.set(print, occurrence);
		if (this.#alike.size > MAX_ALIKE) this.#alike.delete(this.#alike.keys().next().value!);
		return `${print}\n${occurrence}`;
	}

	#publish(entries: readonly LogEntry[]): void {
		for (const group of this.#groups.values()) {
			for (const entry of entries) {
				if (entry.topic === null || group.topics.has(entry.topic)) group.pending.push(entry);
			}
		}
		this.#host.flushSoon(this);
	}

	/** Calls back when what was appended has been handed on: at once, where the store is in memory. */
	#afterLog(callback: () => void): void {
		const settled = this.log.settled();
		if (settled) void settled.then(callback);
		else callback();
	}

	/** Calls a reader; a fault of one ends that one only. */
	#call(reader: FeedReader, call: () => void): void {
		try {
			call();
		} catch (error) {
			this.detach(reader);
			const message = TEXT.upstream;
			reader.failed(
				reader.report({ stage: 'stream', status: 500, message, error, channelId: this.channel })
			);
		}
	}

	#allReaders(): FeedReader[] {
		return [...this.#groups.values()].flatMap(({ readers }) => [...readers]);
	}

	#tellReaders(): void {
		for (const reader of this.#allReaders()) this.#call(reader, () => reader.changed());
	}

	#storeFailed(error: unknown): void {
		this.#owesGap = true;
		this.#fail(TEXT.store, error);
	}

	#reportLoss(error: Error): void {
		this.#lastFailure = error.message;
		this.#lostTexts = this.#reportAll(TEXT.upstreamLost, 503, error);
	}

	/** Lets all readers go; they come back by themselves. */
	#fail(text: string, error: unknown): void {
		const texts = this.#reportAll(text, 503, error);
		for (const reader of this.#allReaders()) {
			this.detach(reader);
			reader.failed(texts.get(reader.report) ?? text);
		}
	}

	/** Tells each endpoint that reads this feed, once. @returns its text for browsers. */
	#reportAll(message: string, status: number, error?: unknown): Map<Report, string> {
		const failure = { stage: 'stream', message, status, channelId: this.channel, error } as const;
		return new Map([...this.#reports.keys()].map((report) => [report, report(failure)]));
	}
}
