import { afterEach, beforeEach, describe, expect, it, test, vi } from 'vitest';
import { MemoryIdempotencyStore } from '../../src/lib/server/backend/memoryIdempotency.js';
import { Once, OnceBusy, OnceConflict } from '../../src/lib/server/events/once.js';
import { idempotencyContract } from '../../src/lib/testing/contract/index.js';

describe('the memory of one process', () => {
	const idempotency = new MemoryIdempotencyStore();
	idempotencyContract({ connect: () => ({ name: 'memory', idempotency }) }, { it, expect });

	test('is bounded: the oldest results go first, what runs stays', async () => {
		const store = new MemoryIdempotencyStore({ maxBytes: 100_000 });
		const options = { hash: 'h', leaseMs: 60_000 };
		await store.begin('running', options);
		for (let n = 0; n < 2_000; n++) {
			const state = await store.begin(`id ${n}`, options);
			if (state.status !== 'first') throw new Error('It ran before.');
			await store.finish(`id ${n}`, state.token, JSON.stringify('x'.repeat(50)), 60_000);
			expect(store.bytes).toBeLessThanOrEqual(100_000);
		}
		expect(await store.begin('running', options)).toEqual({ status: 'running' });
		expect(await store.begin('id 1999', options)).toMatchObject({ status: 'done' });
		expect(await store.begin('id 0', options)).toMatchObject({ status: 'first' });
	});
});

describe('once, between processes', () => {
	beforeEach(() => void vi.useFakeTimers());
	afterEach(() => void vi.useRealTimers());

	const run = { hash: 'h', ttlMs: 60_000 };
	const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

	/** Work that ends when it is told to. */
	function work() {
		let resolve!: (json: string) => void;
		let reject!: (error: Error) => void;
		const promise = new Promise<string>((yes, no) => {
			resolve = yes;
			reject = no;
		});
		return { start: vi.fn(() => promise), resolve, reject };
	}

	test('a lease is renewed for as long as the work takes, and another process waits', async () => {
		const store = new MemoryIdempotencyStore();
		const [one, two] = [new Once(store), new Once(store)];
		const long = work();
		const other = vi.fn(async () => '"two"');
		const first = one.run('k', run, long.start);
		await pass(0);
		const second = two.run('k', run, other);
		await pass(300_000);
		long.resolve('"one"');
		await pass(1_000);
		expect(await first).toEqual({ json: '"one"', isRepeat: false });
		expect(await second).toEqual({ json: '"one"', isRepeat: true });
		expect(other).not.toHaveBeenCalled();
		expect(vi.getTimerCount()).toBe(0);
	});

	test('a lease is renewed past the time limit as well, until the work has ended', async () => {
		const store = new MemoryIdempotencyStore();
		const long = work();
		const late: Promise<string | undefined>[] = [];
		const first = new Once(store).run(
			'k',
			{ ...run, timeoutMs: 5_000, onLate: (result) => late.push(result) },
			long.start
		);
		const ended = expect(first).rejects.toMatchObject({ code: 'CALLBACK_TIMEOUT' });
		await pass(5_000);
		await ended;
		const other = vi.fn(async () => '"two"');
		const second = new Once(store).run('k', run, other);
		await pass(600_000);
		expect(other).not.toHaveBeenCalled();
		long.resolve('"one"');
		await pass(1_000);
		expect(await Promise.all(late)).toEqual(['"one"']);
		expect(await second).toEqual({ json: '"one"', isRepeat: true });
		expect(vi.getTimerCount()).toBe(0);
	});

	test('when a process dies another takes over, and the dead one changes nothing', async () => {
		const store = new MemoryIdempotencyStore();
		let isDead = false;
		const calls = <T>(call: () => Promise<T>): Promise<T> =>
			isDead ? new Promise(() => {}) : call();
		const dying = new Once({
			begin: (id, options) => calls(() => store.begin(id, options)),
			renew: (id, token, ms) => calls(() => store.renew(id, token, ms)),
			finish: (id, token, json, ms) => calls(() => store.finish(id, token, json, ms)),
			fail: (id, token) => calls(() => store.fail(id, token))
		});
		const lost = work();
		void dying.run('k', run, lost.start);
		await pass(100_000);
		isDead = true;
		const next = vi.fn(async () => '"next"');
		const taken = new Once(store).run('k', run, next);
		await pass(19_000);
		expect(next).not.toHaveBeenCalled();
		await pass(13_000);
		expect((await taken).json).toBe('"next"');
		isDead = false;
		lost.resolve('"lost"');
		await pass(1_000);
		expect(await store.begin('k', { hash: 'h', leaseMs: 1 })).toEqual({
			status: 'done',
			result: '"next"'
		});
	});

	test('a process that slept gets what counts: the result of the one that took over', async () => {
		const store = new MemoryIdempotencyStore();
		const lazy = { ...callsOf(store), renew: async () => false };
		const slow = work();
		const first = new Once(lazy).run('k', run, slow.start);
		await pass(31_000);
		expect((await new Once(store).run('k', run, async () => '"other"')).json).toBe('"other"');
		slow.resolve('"mine"');
		await pass(1_000);
		expect((await first).json).toBe('"other"');
	});

	test('a result is recorded as soon as the store is back', async () => {
		const store = new MemoryIdempotencyStore();
		let fails = 3;
		const weak = {
			...callsOf(store),
			finish: async (...args: Parameters<typeof store.finish>) => {
				if (fails-- > 0) throw new Error('away');
				return store.finish(...args);
			}
		};
		const result = new Once(weak).run('k', run, async () => '1');
		await pass(1_000);
		expect((await result).json).toBe('1');
		expect(await store.begin('k', { hash: 'h', leaseMs: 1 })).toMatchObject({ status: 'done' });
	});

	test('a caller does not wait for ever, and conflicts are reported', async () => {
		const store = new MemoryIdempotencyStore();
		const once = new Once(store);
		const long = work();
		void once.run('k', run, long.start);
		await pass(0);
		await expect(once.run('k', { ...run, hash: 'other' }, long.start)).rejects.toBeInstanceOf(
			OnceConflict
		);
		const other = new Once(store);
		await expect(other.run('k', { ...run, hash: 'other' }, long.start)).rejects.toBeInstanceOf(
			OnceConflict
		);
		const busy = other.run('k', { ...run, waitMs: 5_000 }, long.start);
		const ended = expect(busy).rejects.toBeInstanceOf(OnceBusy);
		await pass(5_000);
		await ended;
		expect(long.start).toHaveBeenCalledTimes(1);
	});
});

function callsOf(store: MemoryIdempotencyStore) {
	return {
		begin: store.begin.bind(store),
		renew: store.renew.bind(store),
		finish: store.finish.bind(store),
		fail: store.fail.bind(store)
	};
}
