import type { RateDecision, RateLimitStore, RateRule } from './rateLimit.js';

interface Bucket {
	tokens: number;
	readonly perMs: number;
	readonly points: number;
	atMs: number;
	blockedUntilMs: number;
}

/** Buckets that are kept; past that the one that was used longest ago is forgotten. */
const MAX_BUCKETS = 100_000;

/** Counts in this process. */
export class MemoryRateLimitStore implements RateLimitStore {
	/** In the order in which they were last used. */
	readonly #buckets = new Map<string, Bucket>();

	async take(key: string, cost: number, rule: RateRule): Promise<RateDecision> {
		const nowMs = performance.now();
		const bucket = this.#use(key, rule, nowMs);
		const { perMs, points } = bucket;
		bucket.tokens = Math.min(points, bucket.tokens + (nowMs - bucket.atMs) * perMs);
		bucket.atMs = nowMs;
		const blockedMs = bucket.blockedUntilMs - nowMs;
		if (blockedMs > 0) return { isAllowed: false, retryAfterMs: blockedMs };
		if (bucket.tokens >= cost) {
			bucket.tokens -= cost;
			return { isAllowed: true, retryAfterMs: 0 };
		}
		const waitMs = rule.blockMs ?? (cost - bucket.tokens) / perMs;
		if (rule.blockMs !== undefined) bucket.blockedUntilMs = nowMs + rule.blockMs;
		return { isAllowed: false, retryAfterMs: waitMs };
	}

	async block(key: string, ms: number): Promise<void> {
		if (ms === 0) return void this.#buckets.delete(key);
		const bucket = this.#use(key, { points: 0, intervalMs: 1 }, performance.now());
		bucket.blockedUntilMs = performance.now() + ms;
	}

	#use(key: string, { points, intervalMs }: RateRule, nowMs: number): Bucket {
		let bucket = this.#buckets.get(key);
		if (!bucket || (bucket.points !== points && bucket.blockedUntilMs <= nowMs)) {
			const perMs = points / intervalMs;
			bucket = { tokens: points, perMs, points, atMs: nowMs, blockedUntilMs: 0 };
		}
		this.#buckets.delete(key);
		this.#buckets.set(key, bucket);
		if (this.#buckets.size > MAX_BUCKETS) {
			this.#buckets.delete(this.#buckets.keys().next().value!);
		}
		return bucket;
	}
}
