import type { RateDecision, RateLimitStore, RateRule } from './rateLimit.js';

interface Bucket {
	tokens: number;
	/** When `tokens` was counted, by the monotonic clock of the process. */
	atMs: number;
	/** When the block of the key ends. */
	blockedUntilMs: number;
	/** When the bucket is full, so that forgetting it changes nothing. */
	fullAtMs: number;
}

/** Most keys that are remembered. */
const MAX_KEYS = 10_000;

/**
 * Token buckets in the memory of this process. If there are too many keys, it forgets the least recently used
 * one; blocked keys go last.
 */
export class MemoryRateLimitStore implements RateLimitStore {
	readonly #buckets = new Map<string, Bucket>();
	readonly #blocked = new Map<string, Bucket>();
	readonly #maxKeys: number;

	/** @param maxKeys Most keys that are remembered, and most keys that are blocked. */
	constructor(maxKeys: number = MAX_KEYS) {
		this.#maxKeys = maxKeys;
	}

	/** Keys that are remembered now. */
	get size(): number {
		return this.#buckets.size + this.#blocked.size;
	}

	async take(key: string, cost: number, rule: RateRule): Promise<RateDecision> {
		const { points, intervalMs, blockMs } = rule;
		const nowMs = performance.now();
		const bucket = this.#find(key, points, nowMs);
		if (bucket.blockedUntilMs > nowMs) return refused(bucket.blockedUntilMs - nowMs);
		bucket.tokens = Math.min(points, bucket.tokens + ((nowMs - bucket.atMs) * points) / intervalMs);
		bucket.atMs = nowMs;
		const isAllowed = bucket.tokens >= cost;
		if (isAllowed) bucket.tokens -= cost;
		bucket.fullAtMs = nowMs + ((points - bucket.tokens) * intervalMs) / points;
		if (isAllowed) {
			if (bucket.tokens < points) this.#remember(this.#buckets, key, bucket);
			return { isAllowed, retryAfterMs: 0 };
		}
		if (blockMs) {
			this.#block(key, { ...bucket, blockedUntilMs: nowMs + blockMs });
			return refused(blockMs);
		}
		this.#remember(this.#buckets, key, bucket);
		// The bucket never has more than it can hold.
		return refused(((Math.min(cost, points) - bucket.tokens) * intervalMs) / points);
	}

	async block(key: string, ms: number): Promise<void> {
		this.#buckets.delete(key);
		this.#blocked.delete(key);
		if (ms <= 0) return;
		const nowMs = performance.now();
		this.#block(key, {
			tokens: Infinity,
			atMs: nowMs,
			blockedUntilMs: nowMs + ms,
			fullAtMs: nowMs + ms
		});
	}

	#find(key: string, points: number, nowMs: number): Bucket {
		const blocked = this.#blocked.get(key);
		if (blocked) {
			if (blocked.blockedUntilMs > nowMs) return blocked;
			this.#blocked.delete(key);
			return { ...blocked, tokens: Math.min(points, blocked.tokens) };
		}
		return (
			this.#buckets.get(key) ?? { tokens: points, atMs: nowMs, blockedUntilMs: 0, fullAtMs: nowMs }
		);
	}

	#block(key: string, bucket: Bucket): void {
		this.#buckets.delete(key);
		this.#remember(this.#blocked, key, bucket);
	}

	#remember(map: Map<string, Bucket>, key: string, bucket: Bucket): void {
		map.delete(key);
		map.set(key, bucket);
		const nowMs = performance.now();
		for (const [oldest, { fullAtMs, blockedUntilMs }] of map) {
			const isOver = Math.max(fullAtMs, blockedUntilMs) <= nowMs;
			if (!isOver && map.size <= this.#maxKeys) break;
			map.delete(oldest);
		}
	}
}

function refused(retryAfterMs: number): RateDecision {
	return { isAllowed: false, retryAfterMs: Math.ceil(retryAfterMs) };
}
