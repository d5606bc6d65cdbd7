import type { RealtimeBackend } from '../../server/backend/backend.js';
import type { RateDecision, RateLimitStore } from '../../server/backend/rateLimit.js';
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

/** A time short enough for a case to wait. */
const SHORT_MS = 300;

const ALLOWED: RateDecision = { isAllowed: true, retryAfterMs: 0 };

/**
 * The contract of a {@link RateLimitStore}: what `limits.rate` and bans rely on.
 *
 * @example
 * ```ts
 * describe('my backend', () => rateLimitContract({ connect: () => myBackend(url) }, { it, expect }));
 * ```
 */
export function rateLimitContract(driver: BackendDriver, runner: TestRunner): void {
	const { expect } = runner;

	async function open({ connect }: CaseContext): Promise<RateLimitStore> {
		const { rateLimit } = await connect();
		if (!rateLimit) throw new TypeError('The backend has no `rateLimit`.');
		return rateLimit;
	}

	/** The time to wait of a refused key. */
	async function waitOf(decision: PromiseLike<RateDecision>): Promise<number> {
		const { isAllowed, retryAfterMs } = await decision;
		expect([isAllowed, Number.isInteger(retryAfterMs)]).toEqual([false, true]);
		return retryAfterMs;
	}

	const cases: ContractCase[] = [
		{
			name: 'a bucket gives as many tokens as it holds, to all processes together',
			async run(context) {
				const stores = [await open(context), await open(context)];
				const rule = { points: 10, intervalMs: HOUR_MS };
				const decisions = await Promise.all(
					Array.from({ length: 30 }, (_, n) => stores[n % 2]!.take(context.log, 1, rule))
				);
				const allowed = decisions.filter(({ isAllowed }) => isAllowed);
				expect(allowed.length).toBe(10);
				for (const decision of allowed) expect(decision).toEqual(ALLOWED);
				const waitMs = await waitOf(stores[0]!.take(context.log, 1, rule));
				// A tenth of an hour, of which some has passed.
				expect(waitMs > 300_000 && waitMs <= HOUR_MS / 10).toBe(true);
			}
		},
		{
			name: 'each key has a bucket of its own, whatever its text',
			async run(context) {
				const store = await open(context);
				const rule = { points: 1, intervalMs: HOUR_MS };
				const keys = ['', ' ', 'ü', 'a:b{c}', "x' --", 'a\nb', '%_\\', 'x'.repeat(2_000)];
				for (const key of keys) {
					expect(await store.take(`${context.log}${key}`, 1, rule)).toEqual(ALLOWED);
				}
				for (const key of keys) await waitOf(store.take(`${context.log}${key}`, 1, rule));
			}
		},
		{
			name: 'tokens come back with time, one by one',
			async run(context) {
				const store = await open(context);
				const rule = { points: 2, intervalMs: 2 * SHORT_MS };
				await store.take(context.log, 2, rule);
				const waitMs = await waitOf(store.take(context.log, 1, rule));
				expect(waitMs > 0 && waitMs <= SHORT_MS).toBe(true);
				await new Promise((resolve) => setTimeout(resolve, waitMs + 5));
				expect(await store.take(context.log, 1, rule)).toEqual(ALLOWED);
				await waitOf(store.take(context.log, 1, rule));
				await until(
					async () => (await store.take(context.log, 2, rule)).isAllowed,
					'the bucket to be full'
				);
			}
		},
		{
			name: 'what costs more takes more; what costs too much takes nothing',
			async run(context) {
				const store = await open(context);
				const rule = { points: 5, intervalMs: HOUR_MS };
				expect(await store.take(context.log, 3, rule)).toEqual(ALLOWED);
				await waitOf(store.take(context.log, 3, rule));
				expect(await store.take(context.log, 0, rule)).toEqual(ALLOWED);
				expect(await store.take(context.log, 2, rule)).toEqual(ALLOWED);
				await waitOf(store.take(context.log, 1, rule));
				expect(await store.take(context.log, 0, rule)).toEqual(ALLOWED);
				// For more than the bucket holds, the wait is the time until it is full.
				expect((await waitOf(store.take(context.log, 9, rule))) <= HOUR_MS).toBe(true);
			}
		},
		{
			name: 'a key that found its bucket empty is kept out for as long as the rule says',
			async run(context) {
				const [one, two] = [await open(context), await open(context)];
				const rule = { points: 1, intervalMs: 10, blockMs: 2 * SHORT_MS };
				await one.take(context.log, 1, { ...rule, intervalMs: HOUR_MS });
				expect(await waitOf(one.take(context.log, 1, { ...rule, intervalMs: HOUR_MS }))).toBe(
					2 * SHORT_MS
				);
				await new Promise((resolve) => setTimeout(resolve, SHORT_MS / 2));
				// One token has come back by now.
				const waitMs = await waitOf(two.take(context.log, 1, rule));
				expect(waitMs > 0 && waitMs < 2 * SHORT_MS).toBe(true);
				await until(
					async () => (await two.take(context.log, 1, rule)).isAllowed,
					'it to be let in'
				);
			}
		},
		{
			name: 'a key that is blocked is kept out of all processes, until it is let in',
			async run(context) {
				const [one, two] = [await open(context), await open(context)];
				const rule = { points: 2, intervalMs: HOUR_MS };
				await one.take(context.log, 2, rule);
				await one.block(context.log, HOUR_MS);
				const waitMs = await waitOf(two.take(context.log, 0, rule));
				expect(waitMs > HOUR_MS - 60_000 && waitMs <= HOUR_MS).toBe(true);
				await two.block(context.log, 0);
				// Its bucket is full again.
				expect(await one.take(context.log, 2, rule)).toEqual(ALLOWED);
			}
		},
		{
			name: 'a block ends by itself, with a full bucket',
			async run(context) {
				const store = await open(context);
				const rule = { points: 2, intervalMs: HOUR_MS };
				await store.take(context.log, 2, rule);
				await store.block(context.log, SHORT_MS);
				await waitOf(store.take(context.log, 1, rule));
				await until(async () => (await store.take(context.log, 2, rule)).isAllowed, 'its end');
			}
		},
		{
			name: 'a block can be without end',
			async run(context) {
				const store = await open(context);
				await store.block(context.log, Infinity);
				const rule = { points: 1, intervalMs: 1 };
				const { isAllowed, retryAfterMs } = await store.take(context.log, 1, rule);
				expect([isAllowed, retryAfterMs > HOUR_MS]).toEqual([false, true]);
				await store.block(context.log, 0);
			}
		},
		{
			name: 'a call to a server that does not answer fails in time',
			needs: ['freeze', 'thaw'],
			async run(context) {
				const backend: RealtimeBackend = await context.connect();
				const rule = { points: 1_000, intervalMs: HOUR_MS };
				const take = () => backend.rateLimit!.take(context.log, 1, rule);
				await take();
				await driver.freeze!();
				try {
					const { error, tookMs } = await outcome(take);
					expect(error instanceof Error).toBe(true);
					expect(tookMs < (backend.timeoutMs ?? 2_000) + 1_500).toBe(true);
				} finally {
					await driver.thaw!();
				}
				await until(async () => (await outcome(take)).value, 'the server to answer again');
			}
		}
	];
	register(driver, runner, cases);
}
