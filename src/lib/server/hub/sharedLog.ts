import { compareCursors, formatCursor, parseCursor } from '../../protocol/cursor.js';
import { jitterMs } from '../../protocol/backoff.js';
import type { GuardedBackend, SharedStore } from '../backend/guard.js';
import type { MemoryReplayStore } from '../backend/memory.js';
import type { ReplayBounds, ReplayedEvent, ReplayEvent, ReplaySlice } from '../backend/replay.js';
import { afterInput, unref } from '../runtime/runtime.js';
import { isAfter, LogEntry } from './entry.js';
import { PAGE_EVENTS, readSlice, type Log, type LogSlice } from './log.js';
import { RecentTexts } from './recent.js';

/** About how often, in milliseconds, a log is compared with what was handed on. */
const CHECK_MS = 15_000;

/** About how long, in milliseconds, a log stays local before the backend is tried again. */
const RETURN_MS = 1_500;

/** Most messages that are kept to complete the log when the backend is back. */
const MAX_LOCAL = 1_000;

/** How long, in milliseconds, other processes may take to say that they are live. */
const PROBE_MS = 300;

/** What a shared log tells its feed. */
export interface SharedLogEvents {
	entries(entries: readonly LogEntry[]): void;
	/** Messages may be missing at this point, for those who follow and those who resume. */
	gap(): void;
	/**
	 * @param key The same in every process that misses the same.
	 * @returns the event that says that messages may be missing.
	 */
	gapEvent(key: string): ReplayEvent;
	/** `limitation` changed. */
	limited(): void;
	/** Whether the feed receives messages from its source now. */
	isLive(): boolean;
}

/**
 * A channel's log in a backend that several processes share. What any of them appends is handed on here
 * in the order of the backend, so that all send one order. While the backend is away the log goes on in
 * this process's memory, in an epoch of its own: live messages never wait for a backend. Whoever resumes
 * across the change is told that messages may be missing.
 *
 * Each process leaves the backend, and comes back, at a moment of its own, while the others may append the
 * same messages. So that nobody receives one of them twice, the log remembers what it handed on last, and
 * what came while it was local.
 */
export class SharedLog implements Log {
	cursor: string | null = null;
	readonly #backend: GuardedBackend;
	readonly #store: SharedStore;
	readonly #fallback: MemoryReplayStore;
	readonly #key: string;
	readonly #isGapless: boolean;
	readonly #events: SharedLogEvents;
	#waiting: ReplayEvent[] = [];
	#mustRead = false;
	#busy: Promise<void> | undefined;
	/** Position at which the log left the backend; `null` where it never knew one. */
	#leftAt: string | null = null;
	#isLocal = false;
	/** Somebody resumed while the log was local, from a position that this process does not know. */
	#hasGuests = false;
	/** Messages that came while the log was local, by what they say. */
	readonly #local = new Map<string, ReplayEvent>();
	readonly #recent = new RecentTexts();
	#isDeaf = false;
	#isReleased = false;
	/** Gaps that this process keeps for those who resume. */
	readonly #quietGaps = new Set<string>();
	/** Whether a gap was handed on last, so that another one says nothing new. */
	#endsWithGap = false;
	#timer: ReturnType<typeof setTimeout> | undefined;
	#stopListening: (() => void) | undefined;

	/**
	 * @param fallback Where the log goes on while the backend is away.
	 * @param log `isGapless` where everything comes through the backend, so that nothing is missing from
	 *   the log while nobody listens.
	 */
	constructor(
		backend: GuardedBackend,
		fallback: MemoryReplayStore,
		{ key, isGapless }: { key: string; isGapless: boolean },
		events: SharedLogEvents
	) {
		this.#isGapless = isGapless;
		this.#backend = backend;
		this.#store = backend.replay!;
		this.#fallback = fallback;
		this.#key = key;
		this.#events = events;
	}

	get limitation(): string | undefined {
		const { name } = this.#backend;
		if (this.#isLocal) {
			return `The backend "${name}" is away: messages arrive, but a reconnect may miss some.`;
		}
		return this.#isDeaf
			? `The connection to "${name}" is being restored: messages of other processes may be late.`
			: undefined;
	}

	async open(): Promise<{ isComplete: boolean }> {
		const { bus } = this.#backend;
		// The source may be lost, and back, before the log has been opened.
		this.#stopListening ??= bus?.listen(this.#key, {
			isLive: () => !this.#isLocal && this.#events.isLive(),
			events: (events) => this.#hear(events),
			live: () => {
				this.#setDeaf(false);
				this.#read();
			},
			lost: () => this.#setDeaf(true)
		});
		if (this.#isReleased) this.#stopListening?.();
		try {
			const bounds = await this.#store.bounds(this.#key);
			// That the log is new proves nothing: a reader may hold its very first position from before.
			const isComplete = this.#isGapless || ((await bus?.probe?.(this.#key, PROBE_MS)) ?? false);
			if (this.#isLocal) return { isComplete: true };
			// Announcements that came meanwhile begin before it, or lead to a read.
			this.cursor ??= bounds.last;
			this.#scheduleCheck();
			this.#read();
			return { isComplete };
		} catch {
			this.#leave([]);
			return { isComplete: true };
		}
	}

	append(event: ReplayEvent, isQuiet = false): void {
		// What comes late must not begin a new epoch.
		if (this.#isReleased) return;
		if (isQuiet) this.#quietGaps.add(event.payload);
		if (this.#isLocal) return this.#appendLocally([event]);
		this.#waiting.push(event);
		this.#work();
	}

	since(cursor: string, limit = PAGE_EVENTS): Promise<LogSlice> | LogSlice {
		if (this.#isLocal) return this.#sinceLocally(cursor, limit);
		return this.#sinceOfReader(cursor, limit).catch(async () => {
			await this.#leaveInOrder();
			return this.#sinceLocally(cursor, limit);
		});
	}

	#sinceLocally(cursor: string, limit: number): LogSlice {
		this.#hasGuests = true;
		return readSlice(this.#fallback.since(this.#key, cursor, limit));
	}

	/**
	 * A position beyond the end of the log makes the backend begin a new epoch, because it lost what this
	 * process handed on. A reader that names one may have made it up, and must not end the epoch of all.
	 */
	async #sinceOfReader(cursor: string, limit: number): Promise<LogSlice> {
		if (isBeyond(cursor, this.cursor)) {
			const { last } = await this.#store.bounds(this.#key);
			if (isBeyond(cursor, last)) return { entries: [], missed: 'restart' };
		}
		return readSlice(await this.#store.since(this.#key, cursor, limit));
	}

	bounds(): Promise<ReplayBounds> | ReplayBounds {
		if (this.#isLocal) return this.#fallback.bounds(this.#key);
		return this.#store.bounds(this.#key).catch(async () => {
			await this.#leaveInOrder();
			return this.#fallback.bounds(this.#key);
		});
	}

	settled(): Promise<void> | undefined {
		return this.#busy;
	}

	release(): void {
		if (this.#isReleased) return;
		this.#isReleased = true;
		clearTimeout(this.#timer);
		this.#waiting = [];
		this.#stopListening?.();
		this.#fallback.release(this.#key);
		this.#store.release(this.#key);
	}

	/** Hears of what a process appended. */
	#hear(events: readonly ReplayedEvent[]): void {
		if (this.#isLocal || this.#isReleased || this.cursor === null) return;
		const next: LogEntry[] = [];
		let position = this.cursor;
		for (const event of events) {
			if (!isAfter(event.cursor, position)) continue;
			if (!follows(event.cursor, position)) return this.#read();
			position = event.cursor;
			next.push(new LogEntry(event));
		}
		if (events.length === 0) this.#read();
		else this.#handOn(next);
	}

	/** Compares the log with what was handed on: soon. */
	#read(): void {
		this.#mustRead = true;
		this.#work();
	}

	/** Appends what waits and reads what there is, one call at a time. */
	#work(): void {
		if (this.#busy || this.cursor === null) return;
		this.#busy = this.#drain().finally(() => (this.#busy = undefined));
	}

	async #drain(): Promise<void> {
		// What comes in one burst is one batch.
		await new Promise<void>(afterInput);
		while (!this.#isLocal && !this.#isReleased && (this.#waiting.length > 0 || this.#mustRead)) {
			const events = this.#waiting;
			const position = this.cursor!;
			this.#waiting = [];
			this.#mustRead = false;
			try {
				const slice =
					events.length > 0
						? await this.#store.append(this.#key, events, position, PAGE_EVENTS)
						: await this.#store.since(this.#key, position, PAGE_EVENTS);
				if (!this.#isReleased && !this.#isLocal) await this.#takeSlice(slice, events.length);
				else if (this.#isLocal) this.#appendLocally(events);
			} catch {
				this.#leave(events);
			}
		}
	}

	/** @param appended How many events this process has just appended. */
	async #takeSlice(slice: ReplaySlice, appended: number): Promise<void> {
		let { events, more } = slice;
		const isOtherLog = slice.missed && events.length === 0;
		if (isOtherLog) {
			// The backend lost the log that this one went on from. What it still has was handed on before,
			// but for what was appended now.
			const bounds = await this.#store.bounds(this.#key);
			const start = stepBack(bounds, appended);
			({ events, more } = await this.#store.since(this.#key, start, PAGE_EVENTS));
			this.cursor = start;
			this.#announceGap(`lost\n${start}`);
		}
		// Announcements may have brought some of it meanwhile.
		this.#handOn(
			events
				.filter(({ cursor }) => isAfter(cursor, this.cursor))
				.map((event) => new LogEntry(event))
		);
		if (more && events.length > 0) this.#mustRead = true;
		if (slice.missed && !isOtherLog) this.#events.gap();
	}

	/** @returns whether the gap is news. */
	#beginGap(): boolean {
		const isNews = !this.#endsWithGap;
		this.#endsWithGap = true;
		return isNews;
	}

	/**
	 * Tells those who follow, whose position is of another epoch, at once, and those who resume by an
	 * event in the log, of which one is enough for all processes.
	 */
	#announceGap(key: string): void {
		const event = this.#events.gapEvent(key);
		const { kind, topic, payload } = event;
		this.#endsWithGap = true;
		this.#events.entries([new LogEntry({ cursor: this.cursor!, kind, topic, payload })]);
		this.append(event, true);
	}

	#handOn(entries: readonly LogEntry[]): void {
		const last = entries.at(-1);
		if (!last) return;
		this.cursor = last.cursor;
		const wanted = entries.filter(({ kind, payload }) => {
			// A gap of another process counts here, too: this one may not have noticed yet that it misses the same.
			if (kind === 'resync') return !this.#quietGaps.delete(payload) && this.#beginGap();
			this.#endsWithGap = false;
			this.#recent.add(payload);
			return this.#isLocal || !this.#local.delete(payload);
		});
		if (wanted.length > 0) this.#events.entries(wanted);
	}

	/** Goes on in memory, after what is on its way to the backend. */
	async #leaveInOrder(): Promise<void> {
		await this.#busy;
		this.#leave([]);
	}

	/** Goes on in memory, beginning with events that the backend did not take. */
	#leave(events: readonly ReplayEvent[]): void {
		if (this.#isReleased) return;
		const pending = [...events, ...this.#waiting.splice(0)];
		if (this.#isLocal) return this.#appendLocally(pending);
		this.#isLocal = true;
		this.#hasGuests = false;
		this.#local.clear();
		this.#leftAt = this.cursor;
		this.cursor = this.#fallback.bounds(this.#key).last;
		this.#scheduleReturn();
		this.#events.limited();
		// Another process appended some of them before, so that they were handed on.
		for (const event of pending) this.#remember(event);
		this.#appendLocally(
			pending.filter(({ kind, payload }) => kind === 'resync' || !this.#recent.has(payload))
		);
	}

	#appendLocally(events: readonly ReplayEvent[]): void {
		if (events.length === 0) return;
		for (const event of events) this.#remember(event);
		const cursors = this.#fallback.append(this.#key, events);
		this.#handOn(
			events.map(
				({ kind, topic, payload }, index) =>
					new LogEntry({ cursor: cursors[index]!, kind, topic, payload })
			)
		);
	}

	/** Keeps a message, with its key, until the log can be completed. */
	#remember(event: ReplayEvent): void {
		if (event.kind === 'resync' || this.#local.has(event.payload)) return;
		this.#local.set(event.payload, { ...event });
		if (this.#local.size > MAX_LOCAL) this.#local.delete(this.#local.keys().next().value!);
	}

	#scheduleReturn(): void {
		this.#schedule(RETURN_MS, () => void this.#return());
	}

	#scheduleCheck(): void {
		if (!this.#backend.bus) return;
		this.#schedule(CHECK_MS, () => {
			// By now every process has appended what it received while the backend was away.
			this.#local.clear();
			this.#read();
			this.#scheduleCheck();
		});
	}

	#schedule(aboutMs: number, then: () => void): void {
		clearTimeout(this.#timer);
		if (!this.#isReleased) this.#timer = unref(setTimeout(then, jitterMs(aboutMs)));
	}

	/** Goes back to the backend, if that answers. */
	async #return(): Promise<void> {
		const completed = new Set<string>();
		try {
			let { last } = await this.#store.bounds(this.#key);
			const isGap = !this.#isUntouched;
			if (isGap) last = await this.#complete(last, completed);
			if (this.#isReleased) return;
			this.#goOnAt(isGap ? last : this.#leftAt!, isGap);
		} catch {
			this.#scheduleReturn();
			return;
		}
		// What came while the log was completed was handed on here, and has to get into it.
		for (const [payload, event] of this.#local) {
			if (!completed.has(payload)) this.#waiting.push(event);
		}
		this.#events.limited();
		this.#scheduleCheck();
		this.#read();
	}

	/** Whether nothing happened since the log left the backend, so that it can go on where it was. */
	get #isUntouched(): boolean {
		const local = parseCursor(this.#fallback.bounds(this.#key).last);
		const isEmpty = local?.sequence === 0 && this.#local.size === 0;
		return isEmpty && !this.#hasGuests && this.#leftAt !== null;
	}

	/**
	 * Appends a gap, and what came here while the backend was away, so that no process that is late
	 * appends it after newer messages. Where others have appended some of it, only what is newer follows.
	 *
	 * @param completed Is told what needs no more appending.
	 * @returns where the log ends then.
	 */
	async #complete(last: string, completed: Set<string>): Promise<string> {
		const known = await this.#readSinceLeft();
		const local = [...this.#local.values()];
		const newer = local.slice(local.findLastIndex(({ payload }) => known.has(payload)) + 1);
		for (const { payload } of local) completed.add(payload);
		const gap = this.#events.gapEvent(`left\n${this.#leftAt ?? last}`);
		await this.#store.append(this.#key, [gap, ...newer], last, 1);
		return (await this.#store.bounds(this.#key)).last;
	}

	/** What others appended since the log left the backend, if that matters. */
	async #readSinceLeft(): Promise<ReadonlySet<string>> {
		const known = new Set<string>();
		if (this.#local.size === 0) return known;
		const begin = async (): Promise<string> => (await this.#store.bounds(this.#key)).first;
		let position = this.#leftAt ?? (await begin());
		for (let isMore = true; isMore;) {
			const { events, more, missed } = await this.#store.since(this.#key, position, PAGE_EVENTS);
			for (const { payload } of events) known.add(payload);
			const isOtherLog = missed !== undefined && events.length === 0;
			position = events.at(-1)?.cursor ?? (isOtherLog ? await begin() : position);
			isMore = isOtherLog || (more === true && events.length > 0);
		}
		return known;
	}

	/** The log goes on in the backend. */
	#goOnAt(position: string, isGap: boolean): void {
		this.#fallback.clear(this.#key);
		this.#isLocal = false;
		this.cursor = position;
		if (!isGap) return;
		const { kind, topic, payload } = this.#events.gapEvent('');
		this.#endsWithGap = true;
		this.#events.entries([new LogEntry({ cursor: position, kind, topic, payload })]);
	}

	#setDeaf(isDeaf: boolean): void {
		if (isDeaf === this.#isDeaf || this.#isReleased) return;
		this.#isDeaf = isDeaf;
		this.#events.limited();
	}
}

/** Whether a position is the very next one. */
function follows(cursor: string, position: string): boolean {
	const next = parseCursor(cursor);
	const before = parseCursor(position);
	return next?.epoch === before?.epoch && next?.sequence === (before?.sequence ?? 0) + 1;
}

/** Whether a cursor lies after a position of the same epoch. */
function isBeyond(cursor: string, position: string | null): boolean {
	return position !== null && (compareCursors(cursor, position) ?? 0) > 0;
}

/** @returns the position `steps` before the end of a log, or its beginning. */
function stepBack({ first, last }: ReplayBounds, steps: number): string {
	const [begin, end] = [parseCursor(first), parseCursor(last)];
	if (!begin || !end || begin.epoch !== end.epoch) return last;
	return formatCursor(end.epoch, Math.max(begin.sequence, end.sequence - steps));
}
