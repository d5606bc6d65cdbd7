/** A token bucket. */
export interface RateRule {
	/** Tokens that the bucket holds. As many come back within `intervalMs`. */
	points: number;
	/** Milliseconds in which an empty bucket is full again. */
	intervalMs: number;
	/**
	 * How long, in milliseconds, a key is blocked after it found its bucket empty. @default until a token is
	 * back
	 */
	blockMs?: number;
}

/** The result of taking tokens. */
export interface RateDecision {
	isAllowed: boolean;
	/** Milliseconds after which it is worth trying again; 0 if it is allowed. */
	retryAfterMs: number;
}

/** Counts what each key does. Processes share it through the backend. */
export interface RateLimitStore {
	/** Takes `cost` tokens from the bucket of a key, if it has enough. */
	take(key: string, cost: number, rule: RateRule): PromiseLike<RateDecision>;
	/** Blocks a key for `ms` milliseconds; 0 unblocks it and fills its bucket. */
	block(key: string, ms: number): PromiseLike<void>;
}
