import { formatCursor, parseCursor } from '../protocol/cursor.js';
import type { BusPublishOptions, Published } from '../server/backend/backend.js';
import type {
	ReplayBounds,
	ReplayedEvent,
	ReplayEvent,
	ReplayLimits,
	ReplaySlice,
	ReplayStore
} from '../server/backend/replay.js';
import type { SqlRow, SqlStorageLike } from './platform.js';

/** Bounds of the logs that say nothing themselves, and the clock. */
export interface SqlReplayOptions {
	maxEvents: number;
	maxAgeMs: number;
	/** Milliseconds since the epoch. */
	now(): number;
}

interface Log {
	readonly id: number;
	readonly name: string;
	epoch: string;
	/** Sequence of the newest event that is gone. */
	first: number;
	last: number;
	maxEvents: number;
	maxAgeMs: number;
	/** When it was used last, in milliseconds since the epoch. */
	usedAtMs: number;
}

/** Most text, in characters, that is read at once. */
const MAX_PAGE = 1024 * 1024;

/**
 * Logs in the SQLite storage of an object: one row for each message, which is written once and deleted
 * once. The rows show where a log begins and ends. Only the object writes to them, so it may remember that.
 */
export class SqlReplayStore implements ReplayStore {
	readonly #sql: SqlStorageLike;
	readonly #options: SqlReplayOptions;
	readonly #appended: (log: string, events: readonly ReplayedEvent[]) => void;
	readonly #logs = new Map<string, Log>();

	/** @param appended Is told of every event that was new. */
	constructor(
		sql: SqlStorageLike,
		options: SqlReplayOptions,
		appended: (log: string, events: readonly ReplayedEvent[]) => void
	) {
		this.#sql = sql;
		this.#options = options;
		this.#appended = appended;
		sql.exec(
			`CREATE TABLE IF NOT EXISTS logs (
				id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, epoch TEXT NOT NULL, last INTEGER NOT NULL,
				max_events INTEGER, max_age_ms INTEGER
			)`
		);
		sql.exec(
			`CREATE TABLE IF NOT EXISTS events (
				log INTEGER NOT NULL, sequence INTEGER NOT NULL, at_ms INTEGER NOT NULL, kind TEXT NOT NULL,
				topic TEXT, payload TEXT NOT NULL, PRIMARY KEY (log, sequence)
			) WITHOUT ROWID`
		);
		sql.exec(
			`CREATE TABLE IF NOT EXISTS keys (
				log INTEGER NOT NULL, key TEXT NOT NULL, sequence INTEGER NOT NULL, until_ms INTEGER NOT NULL,
				PRIMARY KEY (log, key)
			) WITHOUT ROWID`
		);
	}

	/** The same store for the object's own feeds, whose source delivers each message once: it keeps no keys. */
	get ofSource(): ReplayStore {
		return {
			append: (log, events) => this.#append(log, events, { hasKeys: false }).cursors,
			since: (log, cursor, limit) => this.since(log, cursor, limit),
			bounds: (log) => this.bounds(log)
		};
	}

	append(name: string, events: readonly ReplayEvent[]): readonly string[] {
		return this.#append(name, events, { hasKeys: true }).cursors;
	}

	publish(name: string, event: ReplayEvent, { keyTtlMs = 0 }: BusPublishOptions = {}): Published {
		const { cursors, isNew } = this.#append(name, [event], { hasKeys: true, keyTtlMs });
		return { cursor: cursors[0]!, isDuplicate: !isNew };
	}

	appendAndRead(
		name: string,
		events: readonly ReplayEvent[],
		cursor: string,
		limit: number
	): ReplaySlice {
		// A cursor beyond the end begins the epoch that the events belong to.
		const { missed } = this.since(name, cursor, 1);
		this.append(name, events);
		return missed === 'restart' ? { events: [], missed } : this.since(name, cursor, limit);
	}

	since(name: string, cursor: string, limit = Infinity): ReplaySlice {
		const log = this.#log(name);
		this.#trim(log);
		const position = parseCursor(cursor);
		if (position?.epoch !== log.epoch || position.sequence > log.last) {
			// Its cursor was handed out, so the end of the log is lost.
			if (position?.epoch === log.epoch) this.#begin(log);
			return { events: [], missed: 'restart' };
		}
		const events: ReplayedEvent[] = [];
		const rows = this.#sql.exec(
			'SELECT sequence, kind, topic, payload FROM events WHERE log = ? AND sequence > ? ORDER BY sequence LIMIT ?',
			log.id,
			position.sequence,
			Math.min(limit, 10_000)
		);
		let size = 0;
		for (const row of rows) {
			const event = eventOf(log.epoch, row);
			size += event.payload.length;
			if (events.length > 0 && size > MAX_PAGE) break;
			events.push(event);
		}
		const end = parseCursor(events.at(-1)?.cursor ?? cursor)!.sequence;
		return {
			events,
			...(position.sequence < log.first && { missed: 'expired' as const }),
			...(end < log.last && events.length > 0 && { more: true })
		};
	}

	bounds(name: string): ReplayBounds {
		const log = this.#log(name);
		this.#trim(log);
		return {
			first: formatCursor(log.epoch, log.first),
			last: formatCursor(log.epoch, log.last),
			isNew: log.last === 0
		};
	}

	/** Gives a log bounds of its own. It costs a write only where they change. */
	limit(name: string, { maxEvents, maxAgeMs }: ReplayLimits): void {
		const log = this.#log(name);
		const events = maxEvents ?? this.#options.maxEvents;
		const ageMs = maxAgeMs ?? this.#options.maxAgeMs;
		if (events === log.maxEvents && ageMs === log.maxAgeMs) return;
		log.maxEvents = events;
		log.maxAgeMs = ageMs;
		this.#sql.exec(
			'UPDATE logs SET max_events = ?, max_age_ms = ? WHERE id = ?',
			maxEvents ?? null,
			maxAgeMs ?? null,
			log.id
		);
	}

	clear(name: string): void {
		this.#begin(this.#log(name));
	}

	/**
	 * Deletes what is too old, and the logs that nobody uses any more and that keep nothing.
	 *
	 * @param isHeard Whether somebody listens to a log.
	 * @returns when more of it is, in milliseconds since the epoch.
	 */
	clean(isHeard: (log: string) => boolean): number[] {
		const nowMs = this.#options.now();
		this.#sql.exec('DELETE FROM keys WHERE until_ms <= ?', nowMs);
		const ends = [...this.#sql.exec('SELECT name FROM logs')].flatMap(({ name }) => {
			const known = this.#logs.get(String(name));
			const log = known ?? this.#log(String(name));
			this.#trim(log);
			if (log.first < log.last) return [this.#oldestMs(log) + log.maxAgeMs];
			// A reader that resumes from a deleted log is told by `resync`.
			const usedAtMs = isHeard(log.name) ? nowMs : (known?.usedAtMs ?? -Infinity);
			if (nowMs - usedAtMs < log.maxAgeMs) return [usedAtMs + log.maxAgeMs];
			this.#logs.delete(log.name);
			this.#sql.exec(
				'DELETE FROM logs WHERE id = ? AND NOT EXISTS (SELECT 1 FROM keys WHERE log = ?)',
				...[log.id, log.id]
			);
			return [];
		});
		const [key] = [...this.#sql.exec('SELECT min(until_ms) AS until_ms FROM keys')];
		if (typeof key?.until_ms === 'number') ends.push(key.until_ms);
		return ends;
	}

	#oldestMs({ id }: Log): number {
		const [oldest] = [
			...this.#sql.exec('SELECT at_ms FROM events WHERE log = ? ORDER BY sequence LIMIT 1', id)
		];
		return Number(oldest!.at_ms);
	}

	#append(
		name: string,
		events: readonly ReplayEvent[],
		{ hasKeys, keyTtlMs = 0 }: { hasKeys: boolean; keyTtlMs?: number }
	): { cursors: string[]; isNew: boolean } {
		const log = this.#log(name);
		const nowMs = this.#options.now();
		const added: ReplayedEvent[] = [];
		const cursors = events.map((event) => {
			const known = hasKeys && this.#sequenceOf(log, event.key, nowMs);
			if (known) return formatCursor(log.epoch, known);
			const { kind, topic, payload } = event;
			const sequence = log.last + 1;
			this.#sql.exec(
				'INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)',
				...[log.id, sequence, nowMs, kind, topic, payload]
			);
			if (hasKeys) {
				const untilMs = nowMs + Math.max(log.maxAgeMs, keyTtlMs);
				this.#sql.exec(
					'INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?)',
					...[log.id, event.key, sequence, untilMs]
				);
			}
			log.last = sequence;
			const cursor = formatCursor(log.epoch, sequence);
			added.push({ cursor, kind, topic, payload });
			return cursor;
		});
		this.#trim(log);
		if (added.length > 0) this.#appended(name, added);
		return { cursors, isNew: added.length > 0 };
	}

	#sequenceOf(log: Log, key: string, nowMs: number): number | undefined {
		const [row] = [
			...this.#sql.exec(
				'SELECT sequence FROM keys WHERE log = ? AND key = ? AND until_ms > ?',
				...[log.id, key, nowMs]
			)
		];
		return row && Number(row.sequence);
	}

	#log(name: string): Log {
		const known = this.#logs.get(name);
		if (known) {
			known.usedAtMs = this.#options.now();
			return known;
		}
		let [row] = [...this.#sql.exec('SELECT * FROM logs WHERE name = ?', name)];
		row ??= [
			...this.#sql.exec(
				'INSERT INTO logs (name, epoch, last) VALUES (?, ?, 0) RETURNING *',
				name,
				newEpoch()
			)
		][0]!;
		const id = Number(row.id);
		const [ends] = [
			...this.#sql.exec(
				'SELECT min(sequence) AS first, max(sequence) AS last FROM events WHERE log = ?',
				id
			)
		];
		const last = Number(ends?.last ?? row.last);
		const log: Log = {
			id,
			name,
			epoch: String(row.epoch),
			first: typeof ends?.first === 'number' ? ends.first - 1 : last,
			last,
			maxEvents: Number(row.max_events ?? this.#options.maxEvents),
			maxAgeMs: Number(row.max_age_ms ?? this.#options.maxAgeMs),
			usedAtMs: this.#options.now()
		};
		this.#logs.set(name, log);
		return log;
	}

	/** Empties the log and gives it a new epoch. */
	#begin(log: Log): void {
		log.epoch = newEpoch();
		log.first = log.last = 0;
		this.#sql.exec('UPDATE logs SET epoch = ?, last = 0 WHERE id = ?', log.epoch, log.id);
		this.#sql.exec('DELETE FROM events WHERE log = ?', log.id);
		this.#sql.exec('DELETE FROM keys WHERE log = ?', log.id);
	}

	#trim(log: Log): void {
		if (log.first === log.last) return;
		const atLeast = Math.max(log.first, log.last - log.maxEvents) + 1;
		const [kept] = [
			...this.#sql.exec(
				'SELECT sequence FROM events WHERE log = ? AND sequence >= ? AND at_ms >= ? ORDER BY sequence LIMIT 1',
				...[log.id, atLeast, this.#options.now() - log.maxAgeMs]
			)
		];
		const first = kept ? Number(kept.sequence) - 1 : log.last;
		if (first === log.first) return;
		// Nothing in `events` says any more where an empty log ended.
		if (first === log.last) {
			this.#sql.exec('UPDATE logs SET last = ? WHERE id = ?', log.last, log.id);
		}
		this.#sql.exec('DELETE FROM events WHERE log = ? AND sequence <= ?', log.id, first);
		log.first = first;
	}
}

function newEpoch(): string {
	return crypto.randomUUID().replaceAll('-', '').slice(0, 16);
}

function eventOf(epoch: string, { sequence, kind, topic, payload }: SqlRow): ReplayedEvent {
	return {
		cursor: formatCursor(epoch, Number(sequence)),
		kind: kind as 'message' | 'resync',
		topic: topic as string | null,
		payload: String(payload)
	};
}
