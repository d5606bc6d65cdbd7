import type { IdempotencyState, IdempotencyStore } from '../server/backend/idempotency.js';
import type { Commands } from './commands.js';
import type { Keys } from './keys.js';
import { BEGIN_RUN, FAIL_RUN, FINISH_RUN, RENEW_RUN, type Script } from './scripts.js';
import { lifetime } from './wire.js';

/** Remembers what has run, in Redis: one hash per id, which expires. Every call is one round trip. */
export class RedisIdempotency implements IdempotencyStore {
	readonly #commands: Commands;
	readonly #keys: Keys;

	constructor(commands: Commands, keys: Keys) {
		this.#commands = commands;
		this.#keys = keys;
	}

	async begin(
		id: string,
		{ hash, leaseMs }: { hash: string; leaseMs: number }
	): Promise<IdempotencyState> {
		const token = crypto.randomUUID();
		const [status, result = ''] = await this.#run(BEGIN_RUN, id, hash, token, lifetime(leaseMs));
		switch (status) {
			case 'first':
				return { status, token };
			case 'done':
				return { status, result };
			default:
				return { status: status as 'running' | 'conflict' };
		}
	}

	async renew(id: string, token: string, leaseMs: number): Promise<boolean> {
		const [isHeld] = await this.#run(RENEW_RUN, id, token, lifetime(leaseMs));
		return isHeld === '1';
	}

	async finish(id: string, token: string, result: string, ttlMs: number): Promise<boolean> {
		const [isHeld] = await this.#run(FINISH_RUN, id, token, lifetime(ttlMs), result);
		return isHeld === '1';
	}

	async fail(id: string, token: string): Promise<void> {
		await this.#run(FAIL_RUN, id, token);
	}

	#run(script: Script, id: string, ...args: string[]): Promise<string[]> {
		return this.#commands.run(script, [this.#keys.run(id)], args);
	}
}
