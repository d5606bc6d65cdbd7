import { Failure, TEXT } from '../failure/failure.js';
import type { Report } from '../failure/report.js';
import { Batch } from './batch.js';
import type { LogEntry } from './entry.js';

/** A reader of topics of a feed. */
export interface FeedReader {
	readonly topics: ReadonlySet<string>;
	readonly report: Report;
	deliver(batch: Batch): void;
	/** The feed's `status` changed. */
	changed(): void;
	/** The feed could not be brought live; the reader is detached. */
	failed(message: string): void;
}

interface Group {
	readonly topics: ReadonlySet<string>;
	readonly readers: Set<FeedReader>;
	pending: LogEntry[];
}

/** The readers of one feed, grouped by their topics, so that what a whole group gets is created once. */
export class Readers {
	readonly #channel: string;
	readonly #groups = new Map<string, Group>();
	/** Endpoints whose readers are here, and how many readers each has. */
	readonly #reports = new Map<Report, number>();

	constructor(channel: string) {
		this.#channel = channel;
	}

	get size(): number {
		let size = 0;
		for (const { readers } of this.#groups.values()) size += readers.size;
		return size;
	}

	attach(reader: FeedReader): void {
		const key = keyOf(reader);
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
		const key = keyOf(reader);
		const group = this.#groups.get(key);
		if (!group?.readers.delete(reader)) return;
		if (group.readers.size === 0) this.#groups.delete(key);
		const left = this.#reports.get(reader.report)! - 1;
		if (left > 0) this.#reports.set(reader.report, left);
		else this.#reports.delete(reader.report);
	}

	/** Queues entries for the readers of their topics, until `flush`. */
	add(entries: readonly LogEntry[]): void {
		for (const { topics, pending } of this.#groups.values()) {
			for (const entry of entries) {
				if (entry.topic === null || topics.has(entry.topic)) pending.push(entry);
			}
		}
	}

	/** Delivers the queued entries: each reader gets everything of this tick at once. */
	flush(): void {
		for (const group of this.#groups.values()) {
			if (group.pending.length === 0) continue;
			const batch = new Batch(group.pending);
			group.pending = [];
			for (const reader of group.readers) this.#call(reader, () => reader.deliver(batch));
		}
	}

	tellChanged(): void {
		for (const reader of this.#all()) this.#call(reader, () => reader.changed());
	}

	/** Detaches all readers; they come back by themselves. */
	fail(failure: Failure): void {
		const texts = this.report(failure);
		for (const reader of this.#all()) {
			this.#letGo(reader, texts.get(reader.report) ?? failure.message);
		}
	}

	/** Detaches the readers that are left when the feed ends. */
	end(): void {
		for (const reader of this.#all()) this.#letGo(reader, TEXT.closed);
	}

	/** Tells each endpoint that reads the feed, once. @returns its text for browsers. */
	report(failure: Failure): Map<Report, string> {
		const place = { channelId: this.#channel };
		return new Map([...this.#reports.keys()].map((report) => [report, report(failure, place)]));
	}

	/** Calls a reader. If it throws it is detached, and the others are not affected. */
	#call(reader: FeedReader, call: () => void): void {
		try {
			call();
		} catch (error) {
			const failure = new Failure('stream', 500, TEXT.upstream, { cause: error });
			this.#letGo(reader, reader.report(failure, { channelId: this.#channel }));
		}
	}

	#letGo(reader: FeedReader, text: string): void {
		this.detach(reader);
		try {
			reader.failed(text);
		} catch (error) {
			const failure = new Failure('stream', 500, TEXT.upstream, { cause: error });
			reader.report(failure, { channelId: this.#channel });
		}
	}

	#all(): FeedReader[] {
		return [...this.#groups.values()].flatMap(({ readers }) => [...readers]);
	}
}

/** What the readers of one group have in common. */
function keyOf({ topics }: FeedReader): string {
	return JSON.stringify([...topics].sort());
}
