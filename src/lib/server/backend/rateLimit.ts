/** A token bucket. */
export interface RateRule {
	/** Tokens that the bucket holds, and that come back within `intervalMs`. */
	points: number;
	/** Milliseconds in which an empty bucket is full again. */
	intervalMs: number;
	/** How long, in milliseconds, a key that found its bucket empty is kept out. @default until a token is back */
	blockMs?: number;
}

/** What came of taking tokens. */
export interface RateDecision {
	isAllowed: boolean;
	/** Milliseconds after which it is worth trying again; 0 where it is allowed. */
	retryAfterMs: number;
}

/** Counts what each key may do; shared by processes where the backend has it. */
export interface RateLimitStore {
	/** Takes `cost` tokens from the bucket of a key, if it has as many. */
	take(key: string, cost: number, rule: RateRule): PromiseLike<RateDecision>;
	/** Keeps a key out for `ms` milliseconds; 0 lets it in again and fills its bucket. */
	block(key: string, ms: number): PromiseLike<void>;
}
