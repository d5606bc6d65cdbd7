import { compareCursors, formatCursor, parseCursor } from '../../../src/lib/protocol/cursor.js';
import type { SubscriptionRequest } from '../../../src/lib/protocol/request.js';
import { FakeEndpoint, type FakeStream } from './endpoint.js';

interface Entry {
	cursor: string;
	topic: string;
	/** A number, or nothing where the server lost its own upstream for a while. */
	data: number | undefined;
}

interface Reader {
	stream: FakeStream;
	topics: readonly string[];
	/** Cursor up to which everything was written, while it is not live. */
	at: string;
	/** Whether it follows what is published; before that it is given the log, page by page. */
	live: boolean;
}

/** What the server knows of a channel: a log that reaches back `keep` entries, and its readers. */
class Log {
	readonly channel: string;
	readonly #keep: number;
	readonly #counters = new Map<string, number>();
	#epoch = 0;
	#sequence = 0;
	#entries: Entry[] = [];
	/** That of a process that is going away, and still has readers. */
	#older: Log | undefined;
	readers: Reader[] = [];

	constructor(channel: string, keep: number) {
		this.channel = channel;
		this.#keep = keep;
	}

	get cursor(): string {
		return formatCursor(`e${this.#epoch}`, this.#sequence);
	}

	/** The number that a topic has come to. */
	counter(topic: string): number {
		return this.#counters.get(topic) ?? 0;
	}

	/** Publishes the next number of a topic; one that is `lost` never reaches the server. */
	publish(topic: string, lost = false): void {
		const data = this.counter(topic) + 1;
		this.#counters.set(topic, data);
		this.#append(topic, lost ? undefined : data);
	}

	#append(topic: string, data: number | undefined): void {
		if (this.#older) this.#older.#append(topic, data);
		this.#sequence++;
		const entry = { cursor: this.cursor, topic, data };
		this.#entries.push(entry);
		if (this.#entries.length > this.#keep) this.#entries.shift();
		for (const reader of this.readers) if (reader.live) this.#write(reader, entry);
	}

	/** The process is another one and remembers nothing. */
	restart(): void {
		this.#epoch++;
		this.#sequence = 0;
		this.#entries = [];
		this.#older = undefined;
		this.readers = [];
	}

	/** A deploy: who comes reaches a new process, the old one goes on for the readers that it has. */
	roll(): void {
		const older = new Log(this.channel, this.#keep);
		older.#epoch = this.#epoch;
		older.#sequence = this.#sequence;
		older.#entries = this.#entries;
		older.#older = this.#older;
		older.readers = this.readers;
		this.restart();
		this.#older = older;
	}

	/** Forgets a stream that ended. */
	detach(stream: FakeStream): void {
		this.#older?.detach(stream);
		this.readers = this.readers.filter((reader) => reader.stream !== stream);
	}

	/** Lets one reader go: as when the upstream or the store fails, or its right is taken away. */
	degrade(reader: Reader | undefined, fatal: boolean): void {
		if (!reader) return;
		this.detach(reader.stream);
		reader.stream.health(this.channel, 'degraded', { code: fatal ? 403 : 503, fatal });
	}

	/** The upstream is lost for a while. */
	lose(): void {
		for (const { stream, live } of this.readers)
			if (live) stream.health(this.channel, 'connecting');
		this.publish('count', true);
	}

	tick(): void {
		this.#older?.tick();
		for (const { stream, live } of this.readers) {
			if (live) stream.health(this.channel, 'connected', { cursor: this.cursor });
		}
	}

	attach(stream: FakeStream, topics: readonly string[], from: string | undefined): void {
		this.readers.push({ stream, topics, at: from ?? this.cursor, live: false });
	}

	/** Gives readers that are behind at most `pageSize` more entries; who has all goes live. */
	replay(pageSize = Infinity): void {
		this.#older?.replay(pageSize);
		for (const reader of this.readers.filter(({ live }) => !live)) {
			const sequence = ({ cursor }: Pick<Entry, 'cursor'>): number => parseCursor(cursor)!.sequence;
			const at = sequence({ cursor: reader.at });
			const known = compareCursors(this.cursor, reader.at) !== null;
			const [oldest] = this.#entries;
			if (!known || (oldest && sequence(oldest) > at + 1)) {
				reader.stream.resync(this.channel, known ? 'expired' : 'restart');
			} else {
				const left = this.#entries.filter((entry) => sequence(entry) > at);
				const page = left.slice(0, pageSize);
				for (const entry of page) this.#write(reader, entry);
				reader.at = page.at(-1)?.cursor ?? reader.at;
				if (left.length > page.length) continue;
			}
			reader.live = true;
			reader.stream.health(this.channel, 'connected', { cursor: this.cursor });
		}
	}

	#write({ stream, topics }: Reader, { cursor, topic, data }: Entry): void {
		if (data === undefined) stream.resync(this.channel, 'upstream-gap', cursor);
		else if (topics.includes(topic)) stream.message(this.channel, topic, data, cursor);
	}
}

/**
 * A server as the wire describes it, without a network: logs with epochs and sequences, replay, resync.
 * The test says when a request is answered, and what breaks.
 */
export class ModelServer {
	readonly endpoint = new FakeEndpoint();
	readonly #logs = new Map<string, Log>();
	readonly #keep: number;

	constructor(keep: number) {
		this.#keep = keep;
	}

	log(channel: string): Log {
		let log = this.#logs.get(channel);
		if (!log) {
			log = new Log(channel, this.#keep);
			this.#logs.set(channel, log);
		}
		return log;
	}

	get logs(): Log[] {
		return [...this.#logs.values()];
	}

	/** Starts a channel of a stream, which goes live with `replay`. */
	start(stream: FakeStream, { channel, topics = [], lastEventId }: SubscriptionRequest): void {
		stream.health(channel, 'connecting', { intervalMs: 5000 });
		this.log(channel).attach(stream, topics, lastEventId);
	}

	/** Forgets a stream that ended. */
	detach(stream: FakeStream): void {
		for (const log of this.logs) log.detach(stream);
	}

	/** All processes end, with every stream. */
	restart(): void {
		for (const log of this.logs) log.restart();
	}
}
