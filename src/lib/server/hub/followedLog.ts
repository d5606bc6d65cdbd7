import { topicSchema } from '../../protocol/channel.js';
import { compareCursors } from '../../protocol/cursor.js';
import { RAW_PAYLOAD, type BackendFeed } from '../backend/backend.js';
import type { GuardedBackend, SharedStore } from '../backend/guard.js';
import type { ReplayBounds, ReplayedEvent } from '../backend/replay.js';
import { CALLBACK_TIMEOUT_MS } from '../failure/callback.js';
import { whenReady } from '../runtime/thenable.js';
import { isAfter, LogEntry } from './entry.js';
import { PAGE_EVENTS, readSlice, type Log, type LogSlice } from './log.js';
import { askSchema } from './schema.js';
import type { FeedSpec, SourceListener } from './source.js';

/** What a followed log tells its feed. */
export interface FollowedLogEvents {
	entries(entries: readonly LogEntry[]): void;
	/** Messages of a topic do not match its schema. */
	invalid(topic: string, reason: unknown): void;
}

/**
 * A channel's log in a backend that receives the channel's messages itself. This process appends nothing:
 * it follows the backend's log and validates the messages, because the backend knows no schemas.
 */
export class FollowedLog implements Log {
	cursor: string | null = null;
	readonly limitation = undefined;
	readonly era = 0;
	readonly #feed: BackendFeed;
	readonly #store: SharedStore;
	readonly #key: string;
	readonly #spec: FeedSpec;
	readonly #events: FollowedLogEvents;
	/** What arrived, in order. It is delivered one after the other, because schemas may answer late. */
	#work: Promise<void> | undefined;
	#isReleased = false;

	constructor(
		backend: GuardedBackend,
		key: string,
		{ spec, events }: { spec: FeedSpec; events: FollowedLogEvents }
	) {
		this.#feed = backend.feed!;
		this.#store = backend.replay!;
		this.#key = key;
		this.#spec = spec;
		this.#events = events;
	}

	/** Follows the channel for its feed. @returns a function that ends it. */
	follow(feed: SourceListener): () => void {
		return this.#feed.follow(this.#key, {
			live: (cursor) => {
				if (this.cursor === null) this.cursor = cursor;
				this.#then(async () => {
					if (isAfter(cursor, this.cursor)) await this.#readOn();
					if (!this.#isReleased) feed.live();
				});
			},
			lost: (error) => this.#then(() => feed.lost(error)),
			failed: (error) => this.#then(() => feed.failed(error)),
			events: (events) => this.#then(() => this.#hear(events))
		});
	}

	open(): { isComplete: boolean } {
		return { isComplete: true };
	}

	/** The backend says itself where messages are missing. */
	append(): void {}

	async since(cursor: string, limit = PAGE_EVENTS): Promise<LogSlice> {
		// A position beyond the end would begin a new epoch. But a reader may have made it up.
		if (isBeyond(cursor, this.cursor)) {
			const { last } = await this.#store.bounds(this.#key);
			if (isBeyond(cursor, last)) return { entries: [], missed: 'restart' };
		}
		const slice = await this.#store.since(this.#key, cursor, limit);
		const { entries, ...rest } = readSlice(slice);
		const valid = await this.#validated(entries);
		// A page that became empty must not look like the end of the log.
		if (rest.more && valid.length === 0) return this.since(entries.at(-1)!.cursor, limit);
		return { ...rest, entries: valid };
	}

	async bounds(): Promise<ReplayBounds> {
		return await this.#store.bounds(this.#key);
	}

	settled(): Promise<void> | undefined {
		return this.#work;
	}

	release(): void {
		this.#isReleased = true;
		this.#store.release(this.#key);
	}

	/** Runs tasks one after the other; at once if none is running. */
	#then(next: () => void | Promise<void>): void {
		if (this.#isReleased) return;
		const done = this.#work
			? this.#work.then(() => (this.#isReleased ? undefined : next()))
			: next();
		if (!done) return;
		const work = done.finally(() => {
			if (this.#work === work) this.#work = undefined;
		});
		this.#work = work;
	}

	#hear(events: readonly ReplayedEvent[]): void | Promise<void> {
		if (this.cursor === null) return;
		const next = events.filter(({ cursor }) => isAfter(cursor, this.cursor));
		return this.#handOn(next.map((event) => new LogEntry(event)));
	}

	#handOn(entries: LogEntry[]): void | Promise<void> {
		const last = entries.at(-1);
		if (!last) return;
		return whenReady(this.#validated(entries), (valid) => {
			if (this.#isReleased) return;
			this.cursor = last.cursor;
			if (valid.length > 0) this.#events.entries(valid);
		});
	}

	/** Reads what came while the connection was down. */
	async #readOn(): Promise<void> {
		try {
			for (let more = true; more && !this.#isReleased;) {
				const slice = await this.#store.since(this.#key, this.cursor!, PAGE_EVENTS);
				const { entries, missed } = readSlice(slice);
				more = slice.more === true && entries.length > 0;
				if (missed) this.#events.entries([this.#gap(missed)]);
				// The log started again: readers continue at its end.
				if (missed && entries.length === 0) this.cursor = (await this.bounds()).last;
				await this.#handOn(entries);
			}
		} catch {
			// The connection will break soon, and reading continues after the reconnect.
		}
	}

	#gap(missed: NonNullable<LogSlice['missed']>): LogEntry {
		const payload = { channel: this.#spec.channel, reason: missed, ts: Date.now() };
		return new LogEntry({
			cursor: this.cursor!,
			kind: 'resync',
			topic: null,
			payload: JSON.stringify(payload)
		});
	}

	/** The entries that match the schemas of their topics, with the data that the schemas return. */
	#validated(entries: LogEntry[]): LogEntry[] | Promise<LogEntry[]> {
		const results = entries.map((entry) => this.#validate(entry));
		if (results.every((result) => !(result instanceof Promise))) {
			return (results as (LogEntry | null)[]).filter((entry) => entry !== null);
		}
		return Promise.all(results).then((all) => all.filter((entry) => entry !== null));
	}

	#validate(raw: LogEntry): LogEntry | null | Promise<LogEntry | null> {
		const { topic, cursor, kind } = raw;
		if (topic === null || !raw.payload.startsWith(RAW_PAYLOAD)) return raw;
		const entry = new LogEntry({
			...{ cursor, kind, topic },
			payload: `{${raw.payload.slice(RAW_PAYLOAD.length)}`
		});
		const schema = topicSchema(this.#spec.definitions[topic]);
		if (!schema || entry.envelope.kind !== 'data') return entry;
		const drop = (reason: unknown): null => {
			this.#events.invalid(topic, reason);
			return null;
		};
		try {
			const { envelope } = entry;
			const timeoutMs = this.#spec.callbackTimeoutMs ?? CALLBACK_TIMEOUT_MS;
			return whenReady(
				askSchema(schema, envelope.data, timeoutMs),
				({ issues, ...result }) => {
					if (issues) return drop(issues);
					const { value } = result as { value: unknown };
					const payload = JSON.stringify({ ...envelope, data: value });
					return new LogEntry({ cursor, kind, topic, payload });
				},
				drop
			) as LogEntry | null | Promise<LogEntry | null>;
		} catch (error) {
			return drop(error);
		}
	}
}

/** Whether a cursor comes after a position of the same epoch. */
function isBeyond(cursor: string, position: string | null): boolean {
	return position !== null && (compareCursors(cursor, position) ?? 0) > 0;
}
