import type { IdempotencyState, IdempotencyStore } from './idempotency.js';

/** The state of one id. Without a result it is running, as long as its lease lasts. */
interface RunRecord {
	readonly hash: string;
	readonly token: string;
	readonly result?: string;
	/** When the lease or the record ends, by the monotonic clock of the process. */
	readonly untilMs: number;
	readonly bytes: number;
}

/** Approximate cost of a record besides its texts. */
const RECORD_BYTES = 200;

/** Bounds of the memory that is used for what has run. */
export interface MemoryIdempotencyOptions {
	/** Most bytes kept; the oldest record goes first. @default 16_777_216 */
	maxBytes?: number;
}

/** Remembers what has run in this process. Answers at once. */
export class MemoryIdempotencyStore implements IdempotencyStore {
	readonly #maxBytes: number;
	/** Least recently written first. */
	readonly #records = new Map<string, RunRecord>();
	#bytes = 0;
	#tokens = 0;

	constructor({ maxBytes = 16 * 1024 * 1024 }: MemoryIdempotencyOptions = {}) {
		this.#maxBytes = maxBytes;
	}

	/** Bytes kept now. */
	get bytes(): number {
		return this.#bytes;
	}

	async begin(
		id: string,
		{ hash, leaseMs }: { hash: string; leaseMs: number }
	): Promise<IdempotencyState> {
		const record = this.#find(id);
		if (!record) {
			const token = String(++this.#tokens);
			this.#put(id, { hash, token }, leaseMs);
			return { status: 'first', token };
		}
		if (record.hash !== hash) return { status: 'conflict' };
		return record.result === undefined
			? { status: 'running' }
			: { status: 'done', result: record.result };
	}

	async renew(id: string, token: string, leaseMs: number): Promise<boolean> {
		const record = this.#held(id, token);
		if (record) this.#put(id, record, leaseMs);
		return record !== undefined;
	}

	async finish(id: string, token: string, result: string, ttlMs: number): Promise<boolean> {
		const record = this.#held(id, token);
		if (record) this.#put(id, { ...record, result }, ttlMs);
		return record !== undefined;
	}

	async fail(id: string, token: string): Promise<void> {
		if (this.#held(id, token)) this.#delete(id);
	}

	#find(id: string): RunRecord | undefined {
		const record = this.#records.get(id);
		if (!record || record.untilMs > performance.now()) return record;
		this.#delete(id);
		return undefined;
	}

	/** The record of a run that still has its lease. */
	#held(id: string, token: string): RunRecord | undefined {
		const record = this.#find(id);
		return record?.token === token && record.result === undefined ? record : undefined;
	}

	#put(id: string, record: Pick<RunRecord, 'hash' | 'token' | 'result'>, lifeMs: number): void {
		this.#delete(id);
		// A string takes at most two bytes per character.
		const { length: characters } = id + record.hash + (record.result ?? '');
		const bytes = RECORD_BYTES + 2 * characters;
		this.#records.set(id, { ...record, untilMs: performance.now() + lifeMs, bytes });
		this.#bytes += bytes;
		this.#trim();
	}

	#delete(id: string): void {
		this.#bytes -= this.#records.get(id)?.bytes ?? 0;
		this.#records.delete(id);
	}

	/** Forgets what has expired, and what there is no room for. */
	#trim(): void {
		const nowMs = performance.now();
		for (const [id, { result, untilMs }] of this.#records) {
			const isOver = untilMs <= nowMs;
			if (!isOver && this.#bytes <= this.#maxBytes) return;
			// What is running now must not run twice.
			if (isOver || result !== undefined) this.#delete(id);
		}
	}
}
