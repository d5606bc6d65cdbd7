import { formatCursor, parseCursor } from '../protocol/cursor.js';
import type { BusPublishOptions, Published } from '../server/backend/backend.js';
import type {
	ReplayBounds,
	ReplayEvent,
	ReplayLimits,
	ReplaySlice,
	ReplayStore
} from '../server/backend/replay.js';
import type { Commands } from './commands.js';
import { eventKey, type Keys } from './keys.js';
import { APPEND, APPEND_AND_READ, CLEAR, PUBLISH, READ } from './scripts.js';
import { decodeEvent, encodeEvent } from './wire.js';

/** Most events per script; Redis does nothing else while it runs. */
const MAX_BATCH = 500;

/** Most events of one page. */
const MAX_PAGE = 1_000;

/** The epoch of a log outlives its events by their maximum age, but at least by this, in milliseconds. */
const MIN_EPOCH_MS = 60_000;

/** Options of the log. */
export interface RedisLogOptions {
	readonly maxEvents: number;
	readonly maxAgeMs: number;
	/** Minimum time, in milliseconds, that a key with its own lifetime is remembered. */
	readonly keyTtlMs: number;
	/** Command that announces events. */
	readonly publish: 'PUBLISH' | 'SPUBLISH';
}

/**
 * The logs in Redis: a stream each. Every call is one script, and so one round trip; only batches of
 * more than 500 events take several.
 */
export class RedisLog implements ReplayStore {
	readonly #commands: Commands;
	readonly #keys: Keys;
	readonly #options: RedisLogOptions;
	readonly #limits = new Map<string, ReplayLimits>();
	/** The part of every epoch that identifies the process that began it. */
	readonly #process = crypto.randomUUID().slice(0, 13).replace('-', '');
	#epochs = 0;

	constructor(commands: Commands, keys: Keys, options: RedisLogOptions) {
		this.#commands = commands;
		this.#keys = keys;
		this.#options = options;
	}

	/** Takes effect with the next call, for all events of the log. */
	limit(log: string, limits: ReplayLimits): void {
		this.#limits.set(log, limits);
	}

	release(log: string): void {
		this.#limits.delete(log);
	}

	async append(log: string, events: readonly ReplayEvent[]): Promise<readonly string[]> {
		const { all, channel } = this.#keys.log(log);
		const cursors: string[] = [];
		for (let from = 0; from < events.length; from += MAX_BATCH) {
			const batch = events.slice(from, from + MAX_BATCH);
			const [epoch, ...sequences] = await this.#commands.run(APPEND, all, [
				...this.#common(log),
				this.#options.publish,
				channel,
				...encodeEvents(batch)
			]);
			for (const sequence of sequences) cursors.push(formatCursor(epoch!, Number(sequence)));
		}
		return cursors;
	}

	async since(log: string, cursor: string, limit?: number): Promise<ReplaySlice> {
		return readSlice(
			await this.#commands.run(READ, this.#keys.log(log).all, [
				...this.#common(log),
				...position(cursor, limit)
			])
		);
	}

	async appendAndRead(
		log: string,
		events: readonly ReplayEvent[],
		cursor: string,
		limit: number
	): Promise<ReplaySlice> {
		const { all, channel } = this.#keys.log(log);
		const last = Math.max(0, Math.ceil(events.length / MAX_BATCH) - 1) * MAX_BATCH;
		if (last > 0) await this.append(log, events.slice(0, last));
		return readSlice(
			await this.#commands.run(APPEND_AND_READ, all, [
				...this.#common(log),
				this.#options.publish,
				channel,
				...position(cursor, limit),
				...encodeEvents(events.slice(last))
			])
		);
	}

	async bounds(log: string): Promise<ReplayBounds> {
		const [epoch, first, last] = await this.#commands.run(READ, this.#keys.log(log).all, [
			...this.#common(log),
			'',
			'0',
			'0'
		]);
		return {
			first: `${epoch}-${first}`,
			last: `${epoch}-${last}`,
			isNew: last === '0'
		};
	}

	/** The log continues in a new epoch. Keys with their own lifetime are still remembered. */
	async clear(log: string): Promise<void> {
		await this.#commands.run(CLEAR, this.#keys.log(log).all, this.#common(log));
	}

	/** See `BackendBus`. */
	async publish(
		log: string,
		event: ReplayEvent,
		{ keyTtlMs }: BusPublishOptions = {}
	): Promise<Published> {
		const { all, channel, remember } = this.#keys.log(log);
		const keys = keyTtlMs === undefined ? all : [...all, remember(event.key)];
		const [cursor, duplicate] = await this.#commands.run(PUBLISH, keys, [
			...this.#common(log),
			this.#options.publish,
			channel,
			`${Math.max(this.#options.keyTtlMs, Math.ceil(keyTtlMs ?? 0))}`,
			...encodeEvents([event])
		]);
		return { cursor: cursor!, isDuplicate: duplicate === '1' };
	}

	/** Common arguments of all scripts: an epoch, if one is needed, and the bounds. */
	#common(log: string): string[] {
		const { maxEvents, maxAgeMs } = { ...this.#options, ...defined(this.#limits.get(log)) };
		const epoch = `${this.#process}.${(++this.#epochs).toString(36)}`;
		const keepMs = maxAgeMs + Math.max(maxAgeMs, MIN_EPOCH_MS);
		return [epoch, `${maxEvents}`, `${Math.ceil(maxAgeMs)}`, `${Math.ceil(keepMs)}`];
	}
}

function defined({ maxEvents, maxAgeMs }: ReplayLimits = {}): ReplayLimits {
	return {
		...(maxEvents !== undefined && { maxEvents }),
		...(maxAgeMs !== undefined && { maxAgeMs })
	};
}

function encodeEvents(events: readonly ReplayEvent[]): string[] {
	return events.flatMap((event) => [eventKey(event.key), encodeEvent(event)]);
}

function position(cursor: string, limit = MAX_PAGE): string[] {
	const { epoch, sequence } = parseCursor(cursor) ?? { epoch: '', sequence: 0 };
	return [epoch, `${sequence}`, `${Math.min(limit, MAX_PAGE)}`];
}

function readSlice([epoch, , last, missed, ...rest]: string[]): ReplaySlice {
	const events = [];
	for (let i = 0; i < rest.length; i += 2) {
		events.push(decodeEvent(rest[i + 1]!, `${epoch}-${rest[i]}`));
	}
	const isMore = rest.length > 0 && rest.at(-2) !== last;
	return {
		events,
		...(missed && { missed: missed as NonNullable<ReplaySlice['missed']> }),
		...(isMore && { more: true })
	};
}
