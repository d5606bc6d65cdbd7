import { compareCursors, formatCursor, parseCursor } from '../../protocol/cursor.js';
import { jitterMs } from '../../protocol/backoff.js';
import type { GuardedBackend, SharedStore } from '../backend/guard.js';
import type { MemoryReplayStore } from '../backend/memory.js';
import type { ReplayBounds, ReplayedEvent, ReplayEvent, ReplaySlice } from '../backend/replay.js';
import { afterInput, unref } from '../runtime/runtime.js';
import { isAfter, LogEntry } from './entry.js';
import { isOfOtherLog, PAGE_EVENTS, readSlice, type Log, type LogSlice } from './log.js';
import { RecentTexts } from './recent.js';

/** About how often, in milliseconds, the log is compared with what was delivered. */
const CHECK_MS = 15_000;

/** About how long, in milliseconds, a log stays local before the backend is tried again. */
const RETURN_MS = 1_500;

/** How long, in milliseconds, other processes have to say that they are live. */
const PROBE_MS = 300;

/** What a shared log tells its feed. */
export interface SharedLogEvents {
	entries(entries: readonly LogEntry[]): void;
	/** Messages may be missing at this point, for readers that follow and for those that resume. */
	gap(): void;
	/**
	 * @param key The same in every process that misses the same messages.
	 * @returns the event that says that messages may be missing.
	 */
	gapEvent(key: string): ReplayEvent;
	/** `limitation` changed. */
	limited(): void;
	/** Whether the feed receives messages from its source now. */
	isLive(): boolean;
}

/**
 * A channel's log in a backend that several processes share. Whatever any of them appends is delivered here
 * in the order of the backend, so that all send the same order. While the backend is unavailable, the log
 * continues in this process's memory, in its own epoch: live messages never wait for a backend. A reader that
 * resumes across the change is told that messages may be missing.
 *
 * Processes leave the backend and return to it at different moments, and others may append the same messages
 * meanwhile. So that nobody receives a message twice, the log remembers what it delivered last, and marks
 * messages that come again after it was local.
 */
export class SharedLog implements Log {
	cursor: string | null = null;
	era = 0;
	readonly #backend: GuardedBackend;
	readonly #store: SharedStore;
	readonly #fallback: MemoryReplayStore;
	readonly #key: string;
	readonly #isGapless: boolean;
	readonly #events: SharedLogEvents;
	#waiting: ReplayEvent[] = [];
	/** Callers that wait until everything pending has been delivered. */
	#settling: (() => void)[] = [];
	#mustRead = false;
	#busy: Promise<void> | undefined;
	/** Position at which the log left the backend; `null` if it never knew one. */
	#leftAt: string | null = null;
	#isLocal = false;
	/** The log is returning to the backend: what arrives now has to get into it. */
	#isReturning = false;
	/** Somebody resumed while the log was local, from a position that this process does not know. */
	#hasGuests = false;
	/** What was delivered while the log was local. */
	#local = new RecentTexts();
	/** What came through the backend. */
	readonly #recent = new RecentTexts();
	#isDeaf = false;
	#isReleased = false;
	/** Gaps that this process announced, and whether its readers know of them. */
	readonly #ownGaps = new Map<string, { isKnown: boolean }>();
	/** Whether the last delivered entry was a gap. */
	#endsWithGap = false;
	#timer: ReturnType<typeof setTimeout> | undefined;
	#stopListening: (() => void) | undefined;

	/**
	 * @param fallback Where the log continues while the backend is unavailable.
	 * @param log `isGapless` if everything comes through the backend, so that the log misses nothing while
	 *   nobody listens.
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
			return `The backend "${name}" is unavailable: messages arrive, but a reconnect may miss some.`;
		}
		return this.#isDeaf
			? `The connection to "${name}" is being restored: messages of other processes may be late.`
			: undefined;
	}

	async open(): Promise<{ isComplete: boolean }> {
		const { bus } = this.#backend;
		// The source may be lost and come back before the log is open.
		this.#stopListening ??= bus?.listen(this.#key, {
			isLive: () => !this.#isLocal && this.#events.isLive(),
			settled: () => this.settled(),
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
			// A new log proves nothing: a reader may still hold its first position.
			const isComplete = this.#isGapless || ((await bus?.probe?.(this.#key, PROBE_MS)) ?? false);
			if (this.#isLocal) return { isComplete: true };
			// Announcements that came meanwhile either start before it or lead to a read.
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
		// A late answer must not begin a new epoch.
		if (this.#isReleased) return;
		if (event.kind === 'resync') this.#ownGaps.set(event.payload, { isKnown: isQuiet });
		if (this.#isLocal && !this.#isReturning) return this.#appendLocally([event]);
		this.#waiting.push(event);
		this.#work();
	}

	async since(cursor: string, limit = PAGE_EVENTS): Promise<LogSlice> {
		let slice: LogSlice | undefined;
		if (!this.#isLocal) {
			try {
				slice = await this.#sinceOfReader(cursor, limit);
			} catch {
				await this.#leaveInOrder();
			}
		}
		if (slice && !isOfOtherLog(slice)) return slice;
		// A reader with a position of another log may have received what this process has not delivered yet.
		await this.settled();
		if (!slice || this.#isLocal) return this.#sinceLocally(cursor, limit);
		return { entries: [], missed: slice.missed!, position: this.cursor! };
	}

	#sinceLocally(cursor: string, limit: number): LogSlice {
		this.#hasGuests = true;
		const slice = readSlice(this.#fallback.since(this.#key, cursor, limit));
		return isOfOtherLog(slice) ? { ...slice, position: this.cursor! } : slice;
	}

	/**
	 * A position beyond the end of the log makes the backend begin a new epoch, because it lost what this
	 * process delivered. But a reader may have made its position up, and must not end the epoch for all.
	 */
	async #sinceOfReader(cursor: string, limit: number): Promise<LogSlice> {
		if (isBeyond(cursor, this.cursor)) {
			const { last } = await this.#store.bounds(this.#key);
			if (isBeyond(cursor, last)) return { entries: [], missed: 'restart' };
		}
		const slice = await this.#store.since(this.#key, cursor, limit);
		return { ...slice, entries: slice.events.map((event) => this.#entryOf(event)) };
	}

	bounds(): Promise<ReplayBounds> | ReplayBounds {
		if (this.#isLocal) return this.#fallback.bounds(this.#key);
		return this.#store.bounds(this.#key).catch(async () => {
			await this.#leaveInOrder();
			return this.#fallback.bounds(this.#key);
		});
	}

	settled(): Promise<void> | undefined {
		return this.#busy && new Promise((resolve) => this.#settling.push(resolve));
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

	/** Handles events that a process appended. */
	#hear(events: readonly ReplayedEvent[]): void {
		if (this.#isLocal || this.#isReleased || this.cursor === null) return;
		const next: LogEntry[] = [];
		let position = this.cursor;
		for (const event of events) {
			if (!isAfter(event.cursor, position)) continue;
			if (!follows(event.cursor, position)) return this.#read();
			position = event.cursor;
			next.push(this.#entryOf(event));
		}
		if (events.length === 0) this.#read();
		else this.#handOn(next);
	}

	/** Soon compares the log with what was delivered. */
	#read(): void {
		this.#mustRead = true;
		this.#work();
	}

	/** Appends pending events and reads new ones, one call at a time. */
	#work(): void {
		if (this.#busy || this.#isLocal || this.cursor === null) return;
		this.#busy = this.#drain();
	}

	async #drain(): Promise<void> {
		// Everything that comes in one burst is one batch.
		await new Promise<void>(afterInput);
		while (!this.#isLocal && !this.#isReleased && (this.#waiting.length > 0 || this.#mustRead)) {
			const events = this.#waiting;
			const settling = this.#settling;
			const position = this.cursor!;
			this.#waiting = [];
			this.#settling = [];
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
			for (const settle of settling) settle();
		}
		// This comes before callers continue, because they may append more.
		this.#busy = undefined;
		for (const settle of this.#settling.splice(0)) settle();
	}

	/** @param appended How many events this process has just appended. */
	async #takeSlice(slice: ReplaySlice, appended: number): Promise<void> {
		let { events, more } = slice;
		const isOtherLog = slice.missed && events.length === 0;
		if (isOtherLog) {
			// The backend lost the log that this one continued from. What it still has was delivered before, except
			// for what was appended just now.
			const bounds = await this.#store.bounds(this.#key);
			const start = stepBack(bounds, appended);
			({ events, more } = await this.#store.since(this.#key, start, PAGE_EVENTS));
			this.cursor = start;
			this.#announceGap(`lost\n${start}`);
		}
		// Announcements may have delivered some of it meanwhile.
		this.#handOn(
			events
				.filter(({ cursor }) => isAfter(cursor, this.cursor))
				.map((event) => this.#entryOf(event))
		);
		if (more && events.length > 0) this.#mustRead = true;
		if (slice.missed && !isOtherLog) this.#events.gap();
	}

	/** An entry of the backend's log, marked if it was delivered here before. */
	#entryOf(event: ReplayedEvent): LogEntry {
		return new LogEntry(event, this.#local.has(event.payload) ? this.era : 0);
	}

	/**
	 * @returns whether readers have to be told. A gap that another process announces right after one is nothing
	 *   new to them, as long as this process receives the messages itself.
	 */
	#beginGap(payload: string): boolean {
		const own = this.#ownGaps.get(payload);
		this.#ownGaps.delete(payload);
		if (own?.isKnown) return false;
		const isNews = own !== undefined || !this.#endsWithGap || !this.#events.isLive();
		this.#endsWithGap = true;
		return isNews;
	}

	/**
	 * Tells readers that follow at once, because their position is of another epoch. Readers that resume learn
	 * it from an event in the log; one is enough for all processes.
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
			if (kind === 'resync') return this.#beginGap(payload);
			this.#endsWithGap = false;
			(this.#isLocal ? this.#local : this.#recent).add(payload);
			return true;
		});
		if (wanted.length > 0) this.#events.entries(wanted);
	}

	/** Continues in memory, after events that are being sent to the backend. */
	async #leaveInOrder(): Promise<void> {
		await this.#busy;
		this.#leave([]);
	}

	/** Continues in memory, starting with events that the backend did not take. */
	#leave(events: readonly ReplayEvent[]): void {
		if (this.#isReleased) return;
		if (this.#isLocal) return this.#appendLocally(events);
		const pending = [...events, ...this.#waiting.splice(0)];
		this.#isLocal = true;
		this.#hasGuests = false;
		this.#local = new RecentTexts();
		this.#leftAt = this.cursor;
		this.cursor = this.#fallback.bounds(this.#key).last;
		this.#scheduleReturn();
		this.#events.limited();
		// Another process appended some of them before, so they were delivered.
		this.#appendLocally(
			pending.filter(({ kind, payload }) => kind === 'resync' || !this.#recent.has(payload))
		);
	}

	#appendLocally(events: readonly ReplayEvent[]): void {
		if (events.length === 0) return;
		const cursors = this.#fallback.append(this.#key, events);
		this.#handOn(
			events.map(
				({ kind, topic, payload }, index) =>
					new LogEntry({ cursor: cursors[index]!, kind, topic, payload })
			)
		);
	}

	#scheduleReturn(): void {
		this.#schedule(RETURN_MS, () => void this.#return());
	}

	#scheduleCheck(): void {
		if (!this.#backend.bus) return;
		this.#schedule(CHECK_MS, () => {
			// By now every process has appended what it received while the backend was unavailable.
			this.#local = new RecentTexts();
			this.#ownGaps.clear();
			this.#read();
			this.#scheduleCheck();
		});
	}

	#schedule(aboutMs: number, then: () => void): void {
		clearTimeout(this.#timer);
		if (!this.#isReleased) this.#timer = unref(setTimeout(then, jitterMs(aboutMs)));
	}

	/**
	 * Returns to the backend, if that answers. Messages that came meanwhile are not added to its log, because
	 * they would come after newer ones. A gap stands for them.
	 */
	async #return(): Promise<void> {
		try {
			const { last } = await this.#store.bounds(this.#key);
			this.#isReturning = true;
			const isGap = !this.#isUntouched;
			if (isGap) await this.#appendGap(last);
			if (this.#isReleased) return;
			this.#goOnAt(isGap ? last : this.#leftAt!, isGap);
		} catch {
			this.#isReturning = false;
			this.#appendLocally(this.#waiting.splice(0));
			this.#scheduleReturn();
			return;
		}
		this.#events.limited();
		this.#scheduleCheck();
		this.#read();
	}

	/** Whether nothing has happened since the log left the backend, so that it can continue where it was. */
	get #isUntouched(): boolean {
		const local = parseCursor(this.#fallback.bounds(this.#key).last);
		return local?.sequence === 0 && !this.#hasGuests && this.#leftAt !== null;
	}

	/** Processes that left the backend at the same position need only one gap in the log. */
	async #appendGap(last: string): Promise<void> {
		const gap = this.#events.gapEvent(`left\n${this.#leftAt ?? last}`);
		this.#ownGaps.set(gap.payload, { isKnown: true });
		await this.#store.append(this.#key, [gap], last, 1);
	}

	/** Continues in the backend. */
	#goOnAt(position: string, isGap: boolean): void {
		this.#fallback.clear(this.#key);
		this.#isLocal = false;
		this.#isReturning = false;
		this.cursor = position;
		if (!isGap) return;
		this.era++;
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

/** Whether a cursor comes after a position of the same epoch. */
function isBeyond(cursor: string, position: string | null): boolean {
	return position !== null && (compareCursors(cursor, position) ?? 0) > 0;
}

/** @returns the position `steps` before the end of a log, or its beginning. */
function stepBack({ first, last }: ReplayBounds, steps: number): string {
	const [begin, end] = [parseCursor(first), parseCursor(last)];
	if (!begin || !end || begin.epoch !== end.epoch) return last;
	return formatCursor(end.epoch, Math.max(begin.sequence, end.sequence - steps));
}
