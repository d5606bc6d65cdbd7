import { RealtimeError } from '../../protocol/errors.js';
import { Failure } from '../failure/failure.js';
import { detached } from '../runtime/context.js';
import { unref } from '../runtime/runtime.js';

/** What is refused first when the process is under pressure: `background`, and `critical` last. */
export type RealtimePriority = 'critical' | 'normal' | 'background';

/**
 * Limits of the process. Over one of them, new streams and events are refused, and open streams stay open.
 */
export interface RealtimePressure {
	/** How late, in milliseconds, timers run: the longest delay of the last 2 seconds. @default no limit */
	eventLoopDelayMs?: number;
	/** Part of the last second in which the event loop was busy, from 0 to 1. @default no limit */
	eventLoopUtilization?: number;
	/** Megabytes of JavaScript objects. @default no limit */
	heapUsedMb?: number;
	/** Megabytes of the whole process. @default no limit */
	rssMb?: number;
}

/** The last measurements, by the names of the limits. */
export type PressureReading = Required<RealtimePressure>;

const NOTHING_MEASURED: Readonly<PressureReading> = {
	eventLoopDelayMs: 0,
	eventLoopUtilization: 0,
	heapUsedMb: 0,
	rssMb: 0
};

/** Names of the limits. */
export const PRESSURE_LIMITS: readonly string[] = Object.keys(NOTHING_MEASURED);

/** How far past its limit, as a factor, the process may be before a priority is refused. */
const REFUSED_AT: Record<RealtimePriority, number> = { background: 0.8, normal: 1, critical: 2 };

/**
 * The part of that factor at which it is accepted again, so that a process at its limit does not switch all
 * the time.
 */
const TAKEN_AGAIN_AT = 0.9;

/** Milliseconds between two measurements. */
const SAMPLE_MS = 100;

/** Measurements of delay that count: those of the last 2 seconds. */
const SAMPLES = 20;

/** Measurements of delay between two measurements of memory and utilization, which cost more. */
const SAMPLES_PER_LOOK = 10;

const MEGABYTE = 1024 * 1024;

interface Utilization {
	readonly utilization: number;
}

/** Node's event loop, if the runtime shows it. */
const eventLoop = performance as unknown as {
	eventLoopUtilization?(now?: Utilization, before?: Utilization): Utilization;
};

/** Measures how busy the process is, if the app has set limits. Owned by its endpoint, ended by `close`. */
export class Pressure {
	readonly #limits: readonly (readonly [name: keyof RealtimePressure, limit: number])[];
	readonly #timer: ReturnType<typeof setInterval> | undefined;
	readonly #delays = new Array<number>(SAMPLES).fill(0);
	#sample = 0;
	#dueMs = 0;
	#loop: Utilization | undefined;
	readonly #reading: PressureReading = { ...NOTHING_MEASURED };
	/** The priorities that are refused now. */
	readonly #refused = new Set<RealtimePriority>();

	constructor(limits: RealtimePressure = {}) {
		this.#limits = (
			Object.entries(limits) as [keyof RealtimePressure, number | undefined][]
		).flatMap(([name, limit]) => (limit === undefined ? [] : [[name, limit] as const]));
		if (this.#limits.length === 0) return;
		this.#loop = eventLoop.eventLoopUtilization?.();
		this.#look();
		this.#decide();
		this.#dueMs = performance.now() + SAMPLE_MS;
		this.#timer = detached(() => unref(setInterval(() => this.#measure(), SAMPLE_MS)));
	}

	/** The last measurements; zeros if there are no limits. */
	get reading(): PressureReading {
		return { ...this.#reading };
	}

	/** How near the process is to its nearest limit; 1 is at the limit. */
	get level(): number {
		return Math.max(0, ...this.#limits.map(([name, limit]) => this.#reading[name] / limit));
	}

	/** The text for readers of open streams; `undefined` while nothing is refused. */
	get text(): string | undefined {
		return this.accepts('normal') ? undefined : TEXT;
	}

	/** @throws {RealtimeError} `INVALID_OPTION` when it is not a priority. */
	accepts(priority: RealtimePriority): boolean {
		if (!Object.hasOwn(REFUSED_AT, priority)) {
			throw new RealtimeError(
				'INVALID_OPTION',
				`accepts() needs a priority, "critical", "normal" or "background", not ${JSON.stringify(priority)}.`
			);
		}
		return !this.#refused.has(priority);
	}

	/** @throws {Failure} `admission` 503 with `Retry-After` when the process is under pressure. */
	check(priority: RealtimePriority = 'normal'): void {
		if (this.accepts(priority)) return;
		// Pages that are refused together should not all come back together.
		const seconds = 1 + Math.floor(Math.random() * 5);
		throw new Failure('admission', 503, TEXT, { headers: { 'retry-after': String(seconds) } });
	}

	close(): void {
		clearInterval(this.#timer);
	}

	#measure(): void {
		const nowMs = performance.now();
		this.#delays[this.#sample++ % SAMPLES] = Math.max(0, nowMs - this.#dueMs);
		this.#dueMs = nowMs + SAMPLE_MS;
		this.#reading.eventLoopDelayMs = Math.max(...this.#delays);
		if (this.#sample % SAMPLES_PER_LOOK === 0) this.#look();
		this.#decide();
	}

	#decide(): void {
		const { level } = this;
		for (const [priority, limit] of Object.entries(REFUSED_AT) as [RealtimePriority, number][]) {
			if (level >= limit) this.#refused.add(priority);
			else if (level < limit * TAKEN_AGAIN_AT) this.#refused.delete(priority);
		}
	}

	#look(): void {
		if (typeof process === 'object' && typeof process.memoryUsage === 'function') {
			const { heapUsed, rss } = process.memoryUsage();
			this.#reading.heapUsedMb = heapUsed / MEGABYTE;
			this.#reading.rssMb = rss / MEGABYTE;
		}
		const now = eventLoop.eventLoopUtilization?.();
		if (!now || !this.#loop) return;
		this.#reading.eventLoopUtilization = eventLoop.eventLoopUtilization!(
			now,
			this.#loop
		).utilization;
		this.#loop = now;
	}
}

const TEXT =
	'This server is busy and accepts no new streams or events for now. Try again in a moment.';
