import type { RateLimitStore } from '../../server/backend/rateLimit.js';
import {
	register,
	type BackendDriver,
	type CaseContext,
	type ContractCase,
	type TestRunner
} from './driver.js';

const MINUTE_MS = 60_000;

/** The contract of a {@link RateLimitStore}: what `limits.rate` and `ban` rely on. */
export function rateLimitContract(driver: BackendDriver, runner: TestRunner): void {
	const { expect } = runner;

	async function open({ connect }: CaseContext): Promise<RateLimitStore> {
		const { rateLimit } = await connect();
		if (!rateLimit) throw new TypeError('The backend has no `rateLimit`.');
		return rateLimit;
	}

	const cases: ContractCase[] = [
		{
			name: 'a key takes as many tokens as its bucket holds, in all processes together',
			async run(context) {
				const stores = [await open(context), await open(context)];
				const rule = { points: 10, intervalMs: MINUTE_MS };
				const decisions = await Promise.all(
					Array.from({ length: 30 }, (_, n) => stores[n % 2]!.take(context.log, 1, rule))
				);
				expect(decisions.filter(({ isAllowed }) => isAllowed).length).toBe(10);
				for (const { isAllowed, retryAfterMs } of decisions) {
					if (isAllowed) expect(retryAfterMs).toBe(0);
					else expect(retryAfterMs > 0 && retryAfterMs <= MINUTE_MS / 10).toBe(true);
				}
			}
		},
		{
			name: 'keys are counted apart',
			async run(context) {
				const store = await open(context);
				const rule = { points: 1, intervalMs: MINUTE_MS };
				expect((await store.take(`${context.log} a`, 1, rule)).isAllowed).toBe(true);
				expect((await store.take(`${context.log} b`, 1, rule)).isAllowed).toBe(true);
				expect((await store.take(`${context.log} a`, 1, rule)).isAllowed).toBe(false);
			}
		},
		{
			name: 'a cost is taken as a whole or not at all; of a part, too, and of nothing',
			async run(context) {
				const store = await open(context);
				const rule = { points: 5, intervalMs: MINUTE_MS };
				expect((await store.take(context.log, 4, rule)).isAllowed).toBe(true);
				expect((await store.take(context.log, 4, rule)).isAllowed).toBe(false);
				expect((await store.take(context.log, 0.5, rule)).isAllowed).toBe(true);
				expect((await store.take(context.log, 0.4, rule)).isAllowed).toBe(true);
				expect((await store.take(context.log, 1, rule)).isAllowed).toBe(false);
				expect((await store.take(context.log, 0, rule)).isAllowed).toBe(true);
			}
		},
		{
			name: 'tokens come back with time',
			async run(context) {
				const store = await open(context);
				const rule = { points: 2, intervalMs: 600 };
				expect((await store.take(context.log, 2, rule)).isAllowed).toBe(true);
				const { isAllowed, retryAfterMs } = await store.take(context.log, 1, rule);
				expect(isAllowed).toBe(false);
				await sleep(retryAfterMs + 50);
				expect((await store.take(context.log, 1, rule)).isAllowed).toBe(true);
				expect((await store.take(context.log, 1, rule)).isAllowed).toBe(false);
			}
		},
		{
			name: '`blockMs` keeps out whoever found the bucket empty',
			async run(context) {
				const store = await open(context);
				const rule = { points: 1, intervalMs: 50, blockMs: MINUTE_MS };
				await store.take(context.log, 1, rule);
				const { isAllowed, retryAfterMs } = await store.take(context.log, 1, rule);
				expect(isAllowed).toBe(false);
				expect(retryAfterMs > MINUTE_MS / 2 && retryAfterMs <= MINUTE_MS).toBe(true);
				await sleep(100);
				expect((await store.take(context.log, 1, rule)).isAllowed).toBe(false);
			}
		},
		{
			name: 'a key that is blocked is kept out in every process, also where it takes nothing, for that time',
			async run(context) {
				const [one, other] = [await open(context), await open(context)];
				const rule = { points: 100, intervalMs: 1_000 };
				await one.block(context.log, 400);
				const { isAllowed, retryAfterMs } = await other.take(context.log, 0, rule);
				expect(isAllowed).toBe(false);
				expect(retryAfterMs > 0 && retryAfterMs <= 400).toBe(true);
				await sleep(500);
				expect((await other.take(context.log, 1, rule)).isAllowed).toBe(true);
			}
		},
		{
			name: 'a block of 0 lets a key in again and fills its bucket',
			async run(context) {
				const store = await open(context);
				const rule = { points: 2, intervalMs: MINUTE_MS };
				await store.take(context.log, 2, rule);
				await store.block(context.log, MINUTE_MS);
				await store.block(context.log, 0);
				expect((await store.take(context.log, 2, rule)).isAllowed).toBe(true);
			}
		}
	];
	register(driver, runner, cases);
}

function sleep(ms: number): Promise<void> {
	return new Promise((resolve) => setTimeout(resolve, ms));
}
