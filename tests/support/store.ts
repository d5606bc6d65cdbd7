import { setImmediate as immediate } from 'node:timers/promises';
import { formatCursor, parseCursor } from '../../src/lib/protocol/cursor.js';
import {
	MemoryReplayStore,
	type ReplayEvent,
	type ReplaySlice,
	type ReplayStore
} from '../../src/lib/server/index.js';

/** A store on a machine of its own, for one process: it answers each question when `delay` has passed. */
export class RemoteStore implements ReplayStore {
	readonly #memory = new MemoryReplayStore();
	delay: () => Promise<unknown>;

	constructor(delay: () => Promise<unknown> = async () => {}) {
		this.delay = delay;
	}

	append(channel: string, events: readonly ReplayEvent[]): Promise<readonly string[]> {
		return this.#answer(() => this.#memory.append(channel, events));
	}

	since(channel: string, cursor: string, limit?: number): Promise<ReplaySlice> {
		return this.#answer(() => this.#memory.since(channel, cursor, limit));
	}

	bounds(channel: string): Promise<{ first: string; last: string }> {
		return this.#answer(() => this.#memory.bounds(channel));
	}

	release(channel: string): void {
		this.#memory.release(channel);
	}

	async #answer<T>(read: () => T): Promise<T> {
		await this.delay();
		return read();
	}
}

/** A log on a machine of its own, that several processes share. */
export class SharedLog {
	readonly #channels = new Map<string, { keys: Map<string, number>; events: ReplayEvent[] }>();
	#seed = 1;

	/** What is kept of a channel, of whichever of its logs there is. */
	events(channel: string): readonly ReplayEvent[] {
		const [log] = [...this.#channels].filter(([name]) => JSON.parse(name)[0] === channel);
		return log?.[1].events ?? [];
	}

	/** One process's connection to it. */
	connect(): SharedStore {
		return new SharedStore(this);
	}

	append(channel: string, events: readonly ReplayEvent[]): string[] {
		const log = this.#channel(channel);
		return events.map((event) => {
			let sequence = log.keys.get(event.key);
			if (sequence === undefined) {
				const { key, kind, topic, payload } = event;
				sequence = log.events.push({ key, kind, topic, payload });
				log.keys.set(key, sequence);
			}
			return formatCursor('shared', sequence);
		});
	}

	since(channel: string, cursor: string, limit = Infinity): ReplaySlice {
		const position = parseCursor(cursor);
		if (position?.epoch !== 'shared') return { events: [], missed: 'restart' };
		const all = this.#channel(channel).events;
		const end = position.sequence + limit;
		const events = all.slice(position.sequence, end).map(({ kind, topic, payload }, index) => ({
			cursor: formatCursor('shared', position.sequence + index + 1),
			kind,
			topic,
			payload
		}));
		return { events, ...(end < all.length && { more: true }) };
	}

	bounds(channel: string): { first: string; last: string } {
		const { length } = this.#channel(channel).events;
		return { first: formatCursor('shared', 0), last: formatCursor('shared', length) };
	}

	/** How many turns of the event loop a message to or from it takes: any few, but each time the same. */
	latency(): number {
		this.#seed = (this.#seed * 1_103_515_245 + 12_345) & 0x7fffffff;
		return this.#seed % 6;
	}

	#channel(channel: string) {
		let log = this.#channels.get(channel);
		if (!log) this.#channels.set(channel, (log = { keys: new Map(), events: [] }));
		return log;
	}
}

/** A connection: its requests are answered in their order, each after a while. */
export class SharedStore implements ReplayStore {
	readonly #log: SharedLog;
	#last: Promise<unknown> = Promise.resolve();
	/** Where set, requests to append wait for it. */
	appendsWaitFor: Promise<void> | undefined;
	/** Where set, requests fail with it. */
	failure: Error | undefined;
	released: string[] = [];

	constructor(log: SharedLog) {
		this.#log = log;
	}

	append(channel: string, events: readonly ReplayEvent[]): Promise<readonly string[]> {
		const held = this.appendsWaitFor;
		return this.#request(async () => {
			await held;
			return this.#log.append(channel, events);
		});
	}

	since(channel: string, cursor: string, limit?: number): Promise<ReplaySlice> {
		return this.#request(
			() => this.#log.since(channel, cursor, limit),
			this.appendsWaitFor !== undefined
		);
	}

	bounds(channel: string): Promise<{ first: string; last: string }> {
		return this.#request(() => this.#log.bounds(channel));
	}

	release(channel: string): void {
		this.released.push(channel);
	}

	async #request<T>(work: () => T | Promise<T>, overtakes = false): Promise<T> {
		const before = overtakes ? Promise.resolve() : this.#last;
		const answer = (async () => {
			for (let turns = this.#log.latency(); turns > 0; turns--) await immediate();
			await before.catch(() => {});
			if (this.failure) throw this.failure;
			const result = await work();
			for (let turns = this.#log.latency(); turns > 0; turns--) await immediate();
			return result;
		})();
		this.#last = answer;
		return answer;
	}
}
