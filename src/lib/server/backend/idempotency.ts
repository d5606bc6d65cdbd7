/** The state of an id when a process wants to run it. */
export type IdempotencyState =
	/** Nobody has run it: the caller may, and holds the lease that `token` names. */
	| { status: 'first'; token: string }
	/** It is running now; ask again after a while. */
	| { status: 'running' }
	/** It has run; `result` is JSON. */
	| { status: 'done'; result: string }
	/** The id was used with other data. */
	| { status: 'conflict' };

/**
 * Remembers what ran, so that it runs once. There are two lifetimes: a short lease that the running
 * process renews, so that a crash does not block the id, and the record of the result.
 */
export interface IdempotencyStore {
	/** Most bytes of a result. @default any number */
	readonly maxResultBytes?: number | undefined;
	/**
	 * Asks to run an id.
	 *
	 * @param hash A hash of the data, to tell whether two uses of the id have the same data.
	 * @param leaseMs Milliseconds after which another caller may run it, unless the lease is renewed.
	 */
	begin(id: string, options: { hash: string; leaseMs: number }): PromiseLike<IdempotencyState>;
	/** Extends the lease. @returns whether the token still holds it. */
	renew(id: string, token: string, leaseMs: number): PromiseLike<boolean>;
	/** Records the result for `ttlMs`. @returns whether the token still held the lease. */
	finish(id: string, token: string, result: string, ttlMs: number): PromiseLike<boolean>;
	/** Gives the lease up: the id may run again. */
	fail(id: string, token: string): PromiseLike<void>;
}
