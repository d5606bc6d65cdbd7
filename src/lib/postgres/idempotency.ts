import { RealtimeError } from '../protocol/errors.js';
import type { IdempotencyState, IdempotencyStore } from '../server/backend/idempotency.js';
import type { PostgresReplayStore } from './replay.js';
import type { Statements } from './statements.js';
import { escapeText, hash as hashOf, unescapeText } from './text.js';
import { lifetime } from './time.js';

/** Remembers what has run, in Postgres: one row per id. Every call is one statement. */
export class PostgresIdempotency implements IdempotencyStore {
	readonly #statements: Statements;
	readonly #store: Pick<PostgresReplayStore, 'startPruning'>;

	/** @param store Deletes expired rows. */
	constructor(statements: Statements, store: Pick<PostgresReplayStore, 'startPruning'>) {
		this.#statements = statements;
		this.#store = store;
	}

	async begin(
		id: string,
		{ hash, leaseMs }: { hash: string; leaseMs: number }
	): Promise<IdempotencyState> {
		this.#store.startPruning();
		const token = crypto.randomUUID();
		const [row] = await this.#call('run_begin', id, {
			hash: escapeText(hash),
			token,
			leaseMs: lifetime(leaseMs),
			deadline: this.#statements.deadline()
		});
		const [, , status, result, clock] = row!;
		this.#statements.setClock(Number(clock));
		switch (status) {
			case 'first':
				return { status, token };
			case 'done':
				return { status, result: unescapeText(result!) };
			case 'late':
				throw new RealtimeError('BACKEND', 'Postgres handled the call too late and began nothing.');
			default:
				return { status: status as 'running' | 'conflict' };
		}
	}

	async renew(id: string, token: string, leaseMs: number): Promise<boolean> {
		return await this.#write(id, { token, lifeMs: lifetime(leaseMs) });
	}

	async finish(id: string, token: string, result: string, ttlMs: number): Promise<boolean> {
		return await this.#write(id, { token, lifeMs: lifetime(ttlMs), result: escapeText(result) });
	}

	async fail(id: string, token: string): Promise<void> {
		await this.#call('run_fail', id, { token });
	}

	async #write(id: string, request: object): Promise<boolean> {
		const [row] = await this.#call('run_write', id, request);
		return row![2] === 'held';
	}

	#call(name: string, id: string, request: object): ReturnType<Statements['call']> {
		const { waitMs } = this.#statements;
		return this.#statements.call(name, { id: hashOf(id), waitMs, ...request });
	}
}
