import type { BackendBus } from '../backend/backend.js';
import type { SharedStore } from '../backend/guard.js';
import type { ReplayedEvent } from '../backend/replay.js';
import { detached } from '../runtime/context.js';
import { unref } from '../runtime/runtime.js';
import type { StreamsWhere } from '../backend/streams.js';
import {
	ANSWER_TIMEOUT_MS,
	type Fleet,
	type FleetHandler,
	type FleetQuestionOptions
} from './fleet.js';

/** Log through which processes ask each other. It keeps what a process has to read again, and no more. */
const LOG = '["$fleet"]';
const LOG_LIMITS = { maxEvents: 1_000, maxAgeMs: 60_000 };

/** Events of one page of that log. */
const PAGE = 200;

/** Questions that are remembered, so that each is answered once. */
const MAX_KNOWN = 1_000;

/** How processes reach each other. */
export interface FleetLines {
	bus: BackendBus;
	replay: SharedStore;
	/** Names this process. */
	owner: string;
	/** Names of the processes that are there now, this one included or not. */
	processes(): Promise<readonly string[]>;
}

type Wire =
	| { type: 'ask'; id: string; from: string; question: string; data: unknown }
	| { type: 'answer'; id: string; from: string; answer?: unknown };

/** A question that waits for its answers. */
interface Waiting {
	answers: Map<string, unknown>;
	check(): void;
}

/** Asks all processes that share a backend; without one, this process. Owned by an endpoint. */
export class BusFleet implements Fleet {
	readonly #lines: FleetLines | undefined;
	readonly #handlers: Readonly<Record<string, FleetHandler<never>>>;
	readonly #waiting = new Map<string, Waiting>();
	readonly #known = new Set<string>();
	#stop: (() => void) | undefined;
	#isClosed = false;
	/** Position up to which the log was read; `null` before the line was live. */
	#position: string | null = null;
	#isReading = false;

	/** @param handlers By the name of the question. */
	constructor(
		lines: FleetLines | undefined,
		handlers: Readonly<Record<string, FleetHandler<never>>>
	) {
		this.#lines = lines;
		this.#handlers = handlers;
	}

	/** From now on this process answers what others ask. */
	listen(): void {
		const lines = this.#lines;
		if (!lines || this.#stop || this.#isClosed) return;
		lines.replay.limit(LOG, LOG_LIMITS);
		this.#stop = detached(() =>
			lines.bus.listen(LOG, {
				isLive: () => false,
				live: () => void this.#read(),
				lost: () => {},
				events: (events) => {
					if (events.length === 0) void this.#read();
					else this.#take(events);
				}
			})
		);
	}

	close(): void {
		this.#stop?.();
		this.#stop = undefined;
		this.#isClosed = true;
		for (const { check } of this.#waiting.values()) check();
	}

	async ask<T>(
		question: string,
		data: unknown,
		options: FleetQuestionOptions<T> = {}
	): Promise<T[]> {
		const { timeoutMs = ANSWER_TIMEOUT_MS, isEnough = () => false } = options;
		const deadlineMs = performance.now() + timeoutMs;
		const lines = this.#lines;
		const owner = lines?.owner ?? '';
		const id = crypto.randomUUID();
		const answers = new Map<string, unknown>();
		const own = (async () => this.#handlers[question]!(data))();
		let expected = [owner];
		if (lines) {
			this.listen();
			try {
				expected = [...new Set([owner, ...(await lines.processes())])];
			} catch (error) {
				await own;
				throw error;
			}
		}
		return await new Promise((resolve, reject) => {
			const all = (): T[] => [...answers.values()].filter((answer) => answer !== undefined) as T[];
			const end = (): void => {
				clearTimeout(timer);
				this.#waiting.delete(id);
				resolve(all());
			};
			const timer = detached(() =>
				unref(setTimeout(end, Math.max(0, deadlineMs - performance.now())))
			);
			const check = (): void => {
				if (this.#isClosed || isEnough(all()) || expected.every((name) => answers.has(name))) end();
			};
			const fail = (error: unknown): void => {
				clearTimeout(timer);
				this.#waiting.delete(id);
				reject(error as Error);
			};
			this.#waiting.set(id, { answers, check });
			own.then((answer) => {
				answers.set(owner, answer);
				check();
			}, fail);
			if (expected.length > 1) {
				this.#send(lines!, { type: 'ask', id, from: owner, question, data }).catch(fail);
			}
		});
	}

	async count(where: StreamsWhere): Promise<number> {
		const counts = await this.ask<number>('count', where);
		return counts.reduce((sum, count) => sum + count, 0);
	}

	async #send({ bus }: FleetLines, wire: Wire): Promise<void> {
		const key = `${wire.type}\n${wire.id}\n${wire.from}`;
		const payload = JSON.stringify(wire);
		await bus.publish(LOG, { key, kind: 'message', topic: 'fleet', payload });
	}

	#take(events: readonly ReplayedEvent[]): void {
		for (const { payload, cursor } of events) {
			this.#position = cursor;
			this.#receive(JSON.parse(payload) as Wire);
		}
	}

	#receive(wire: Wire): void {
		const lines = this.#lines!;
		if (wire.from === lines.owner) return;
		if (wire.type === 'answer') {
			const waiting = this.#waiting.get(wire.id);
			waiting?.answers.set(wire.from, wire.answer);
			waiting?.check();
			return;
		}
		const handler = this.#handlers[wire.question];
		if (!handler || this.#known.has(wire.id)) return;
		this.#known.add(wire.id);
		if (this.#known.size > MAX_KNOWN) this.#known.delete(this.#known.values().next().value!);
		const { id } = wire;
		void (async () => {
			try {
				const answer = await handler(wire.data);
				await this.#send(lines, { type: 'answer', id, from: lines.owner, answer });
			} catch {
				// Whoever asked goes on without this answer.
			}
		})();
	}

	/** Reads what was announced without its text, or while the line was down. */
	async #read(): Promise<void> {
		if (this.#isReading) return;
		this.#isReading = true;
		const { replay } = this.#lines!;
		try {
			this.#position ??= (await replay.bounds(LOG)).last;
			for (let more = true; more;) {
				const slice = await replay.since(LOG, this.#position, PAGE);
				this.#take(slice.events);
				more = slice.more === true && slice.events.length > 0;
			}
		} catch {
			// It is read with the next announcement.
		}
		this.#isReading = false;
	}
}
