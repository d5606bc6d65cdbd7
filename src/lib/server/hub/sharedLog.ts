import { compareCursors, formatCursor, parseCursor } from '../../protocol/cursor.js';
import { jitterMs } from '../../protocol/backoff.js';
import type { GuardedBackend, SharedStore } from '../backend/guard.js';
import type { MemoryReplayStore } from '../backend/memory.js';
import type { ReplayBounds, ReplayedEvent, ReplayEvent, ReplaySlice } from '../backend/replay.js';
import { unref } from '../runtime/runtime.js';
import { isAfter, LogEntry } from './entry.js';
import { PAGE_EVENTS, readSlice, type Log, type LogSlice } from './log.js';

/** About how often, in milliseconds, a log is compared with what was handed on. */
const CHECK_MS = 15_000;

/** About how long, in milliseconds, a log stays local before the backend is tried again. */
const RETURN_MS = 1_500;

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
	#isDeaf = false;
	#isReleased = false;
	/** Gaps that this process announced to those who follow; those of other processes concern others. */
	readonly #ownGaps = new Set<string>();
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
		this.#stopListening = bus?.listen(this.#key, {
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
		if (event.kind === 'resync' && !isQuiet) this.#ownGaps.add(event.payload);
		if (this.#isLocal) return this.#appendLocally([event]);
		this.#waiting.push(event);
		this.#work();
	}

	since(cursor: string, limit = PAGE_EVENTS): Promise<LogSlice> | LogSlice {
		if (this.#isLocal) return readSlice(this.#fallback.since(this.#key, cursor, limit));
		return this.#sinceOfReader(cursor, limit).catch(async () => {
			await this.#leaveInOrder();
			return readSlice(this.#fallback.since(this.#key, cursor, limit));
		});
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

	/**
	 * Tells those who follow, whose position is of another epoch, at once, and those who resume by an
	 * event in the log, of which one is enough for all processes.
	 */
	#announceGap(key: string): void {
		const event = this.#events.gapEvent(key);
		const { kind, topic, payload } = event;
		this.#events.entries([new LogEntry({ cursor: this.cursor!, kind, topic, payload })]);
		this.append(event, true);
	}

	#handOn(entries: readonly LogEntry[]): void {
		const last = entries.at(-1);
		if (!last) return;
		this.cursor = last.cursor;
		const wanted = entries.filter(
			({ kind, payload }) => kind !== 'resync' || this.#ownGaps.delete(payload)
		);
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
		if (!this.#isLocal) {
			this.#isLocal = true;
			this.#leftAt = this.cursor;
			this.cursor = this.#fallback.bounds(this.#key).last;
			this.#scheduleReturn();
			this.#events.limited();
		}
		this.#appendLocally([...events, ...this.#waiting.splice(0)]);
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
		let last: string;
		try {
			({ last } = await this.#store.bounds(this.#key));
		} catch {
			this.#scheduleReturn();
			return;
		}
		if (this.#isReleased) return;
		const local = parseCursor(this.#fallback.bounds(this.#key).last);
		this.#fallback.clear(this.#key);
		this.#isLocal = false;
		if (local?.sequence === 0 && this.#leftAt !== null) this.cursor = this.#leftAt;
		else {
			this.cursor = last;
			this.#announceGap(`left\n${this.#leftAt ?? last}`);
		}
		this.#events.limited();
		this.#scheduleCheck();
		this.#read();
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
