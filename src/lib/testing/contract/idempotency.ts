import type { RealtimeBackend } from '../../server/backend/backend.js';
import type { IdempotencyState, IdempotencyStore } from '../../server/backend/idempotency.js';
import {
	outcome,
	register,
	until,
	type BackendDriver,
	type CaseContext,
	type ContractCase,
	type TestRunner
} from './driver.js';

const HOUR_MS = 3_600_000;
/** A lease short enough for a case to wait for its end. */
const SHORT_MS = 300;

/**
 * The contract of an {@link IdempotencyStore}: what events and `once` rely on.
 *
 * @example
 * ```ts
 * describe('my backend', () => idempotencyContract({ connect: () => myBackend(url) }, { it, expect }));
 * ```
 */
export function idempotencyContract(driver: BackendDriver, runner: TestRunner): void {
	const { expect } = runner;

	async function open({ connect }: CaseContext): Promise<IdempotencyStore> {
		const { idempotency } = await connect();
		if (!idempotency) throw new TypeError('The backend has no `idempotency`.');
		return idempotency;
	}

	const begin = async (
		store: IdempotencyStore,
		id: string,
		{ hash = 'h', leaseMs = HOUR_MS } = {}
	): Promise<IdempotencyState> => store.begin(id, { hash, leaseMs });

	/** Begins a new id. @returns the token. */
	async function first(
		store: IdempotencyStore,
		id: string,
		options?: { leaseMs: number }
	): Promise<string> {
		const state = await begin(store, id, options);
		if (state.status !== 'first') throw new Error(`"${id}" is ${state.status}, not first.`);
		return state.token;
	}

	const cases: ContractCase[] = [
		{
			name: 'the first who begins an id runs it; others are told that it is running, then its result',
			async run(context) {
				const [one, two] = [await open(context), await open(context)];
				const token = await first(one, context.log);
				expect(await begin(two, context.log)).toEqual({ status: 'running' });
				expect(await begin(one, context.log)).toEqual({ status: 'running' });
				expect(await one.finish(context.log, token, '{"a":"ä\\n"}', HOUR_MS)).toBe(true);
				const done = { status: 'done', result: '{"a":"ä\\n"}' };
				expect(await begin(two, context.log)).toEqual(done);
				expect(await begin(one, context.log)).toEqual(done);
			}
		},
		{
			name: 'of many who begin an id at once, one is first',
			async run(context) {
				const stores = await Promise.all(Array.from({ length: 4 }, () => open(context)));
				const states = await Promise.all(
					Array.from({ length: 40 }, (_, n) => begin(stores[n % 4]!, context.log))
				);
				const firsts = states.filter(({ status }) => status === 'first');
				expect(firsts.length).toBe(1);
				expect(states.filter(({ status }) => status === 'running').length).toBe(39);
			}
		},
		{
			name: 'an id with other data is a conflict, while it runs and afterwards',
			async run(context) {
				const store = await open(context);
				const token = await first(store, context.log);
				const conflict = { status: 'conflict' };
				expect(await begin(store, context.log, { hash: 'other' })).toEqual(conflict);
				await store.finish(context.log, token, 'null', HOUR_MS);
				expect(await begin(store, context.log, { hash: 'other' })).toEqual(conflict);
				expect(await begin(store, context.log)).toEqual({ status: 'done', result: 'null' });
			}
		},
		{
			name: 'an id whose run failed may run again, also with other data',
			async run(context) {
				const store = await open(context);
				await store.fail(context.log, await first(store, context.log));
				const state = await begin(store, context.log, { hash: 'other' });
				expect(state.status).toBe('first');
			}
		},
		{
			name: 'a lease that is not renewed ends, and the next one has another token',
			async run(context) {
				const [one, two] = [await open(context), await open(context)];
				const old = await first(one, context.log, { leaseMs: SHORT_MS });
				let token = '';
				await until(async () => {
					const state = await begin(two, context.log);
					if (state.status === 'first') token = state.token;
					return token;
				}, 'the lease to end');
				expect(token === old).toBe(false);
				// The slow caller has lost the lease.
				expect(await one.renew(context.log, old, HOUR_MS)).toBe(false);
				expect(await one.finish(context.log, old, '"old"', HOUR_MS)).toBe(false);
				await one.fail(context.log, old);
				expect(await begin(one, context.log)).toEqual({ status: 'running' });
				expect(await two.finish(context.log, token, '"new"', HOUR_MS)).toBe(true);
				expect(await begin(one, context.log)).toEqual({ status: 'done', result: '"new"' });
			}
		},
		{
			name: 'a lease that is renewed goes on',
			async run(context) {
				const store = await open(context);
				const token = await first(store, context.log, { leaseMs: SHORT_MS });
				expect(await store.renew(context.log, token, HOUR_MS)).toBe(true);
				await new Promise((resolve) => setTimeout(resolve, 2 * SHORT_MS));
				expect(await begin(store, context.log)).toEqual({ status: 'running' });
				expect(await store.renew(context.log, 'another', HOUR_MS)).toBe(false);
			}
		},
		{
			name: 'a result is forgotten after its time',
			async run(context) {
				const store = await open(context);
				const token = await first(store, context.log);
				await store.finish(context.log, token, 'null', SHORT_MS);
				await until(
					async () => (await begin(store, context.log)).status === 'first',
					'the result to be forgotten'
				);
			}
		},
		{
			name: 'what has a result cannot be renewed, finished or failed again',
			async run(context) {
				const store = await open(context);
				const token = await first(store, context.log);
				await store.finish(context.log, token, '1', HOUR_MS);
				expect(await store.renew(context.log, token, HOUR_MS)).toBe(false);
				expect(await store.finish(context.log, token, '2', HOUR_MS)).toBe(false);
				await store.fail(context.log, token);
				expect(await begin(store, context.log)).toEqual({ status: 'done', result: '1' });
			}
		},
		{
			name: 'ids and results are any text',
			async run(context) {
				const store = await open(context);
				const ids = ['', ' ', 'ü', 'a:b{c}', "x' --", 'a\nb', 'a\nb\nc', '%_\\', 'x'.repeat(2_000)];
				for (const id of ids) {
					const key = `${context.log}${id}`;
					const token = await first(store, key);
					await store.finish(key, token, JSON.stringify(id), HOUR_MS);
				}
				for (const id of ids) {
					const state = await begin(store, `${context.log}${id}`);
					expect(state).toEqual({ status: 'done', result: JSON.stringify(id) });
				}
				const token = await first(store, `${context.log}empty`);
				await store.finish(`${context.log}empty`, token, '', HOUR_MS);
				expect(await begin(store, `${context.log}empty`)).toEqual({ status: 'done', result: '' });
			}
		},
		{
			name: 'a call to a server that does not answer fails in time',
			needs: ['freeze', 'thaw'],
			async run(context) {
				const backend: RealtimeBackend = await context.connect();
				const store = backend.idempotency!;
				await first(store, context.log);
				await driver.freeze!();
				try {
					const { error, tookMs } = await outcome(() => begin(store, context.log));
					expect(error instanceof Error).toBe(true);
					expect(tookMs < (backend.timeoutMs ?? 2_000) + 1_500).toBe(true);
				} finally {
					await driver.thaw!();
				}
				await until(async () => {
					const { value } = await outcome(() => begin(store, context.log));
					return (value as IdempotencyState | undefined)?.status === 'running';
				}, 'the server to answer again');
			}
		}
	];
	register(driver, runner, cases);
}
