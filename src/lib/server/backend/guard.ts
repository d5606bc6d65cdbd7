import { parseCursor } from '../../protocol/cursor.js';
import { inTime } from '../runtime/deadline.js';
import { whenReady, type Answer } from '../runtime/thenable.js';
import type { BackendBus, BackendFeed, RealtimeBackend } from './backend.js';
import { Breaker } from './breaker.js';
import type { IdempotencyStore } from './idempotency.js';
import type { PresenceStore } from './presence.js';
import type { RateLimitStore } from './rateLimit.js';
import type { ReplayBounds, ReplayEvent, ReplaySlice, ReplayStore } from './replay.js';
import type { StreamDirectory } from './streams.js';

/** Time limit, in milliseconds, of an answer of a store. */
export const STORE_TIMEOUT_MS = 10_000;

/** A store whose calls fail unless a valid answer comes in time. */
export interface GuardedStore extends ReplayStore {
	append(
		...args: Parameters<ReplayStore['append']>
	): readonly string[] | Promise<readonly string[]>;
	since(...args: Parameters<ReplayStore['since']>): ReplaySlice | Promise<ReplaySlice>;
	bounds(log: string): ReplayBounds | Promise<ReplayBounds>;
}

/**
 * Puts a time limit on every call to a store and checks its answers, so that callers only have to handle
 * success and failure. A synchronous call stays synchronous.
 *
 * Appending has no time limit: events that a store stores late would come after later ones.
 */
export function guardStore(store: ReplayStore): GuardedStore {
	const { appendAndRead, clear } = store;
	return {
		append: (log, events) =>
			whenReady(store.append(log, events), (cursors) => {
				cursors.forEach(checkCursor);
				return cursors;
			}),
		since: (log, cursor, limit) => answered(store.since(log, cursor, limit), checkSlice),
		bounds: (log) =>
			answered(store.bounds(log), (bounds) => {
				checkCursor(bounds.first);
				checkCursor(bounds.last);
				return bounds;
			}),
		...(appendAndRead && {
			appendAndRead: (log, events, cursor, limit) =>
				whenReady(appendAndRead.call(store, log, events, cursor, limit), checkSlice)
		}),
		limit: (log, limits) => store.limit?.(log, limits),
		release: (log) => store.release?.(log),
		...(clear && { clear: (log) => answered(clear.call(store, log), () => {}) }),
		get size() {
			return store.size ?? { events: 0, bytes: 0 };
		}
	};
}

/** The replay store of a backend: every call answers in time or rejects. */
export interface SharedStore {
	/** Appends events and reads what follows `cursor`. This includes the events if they are new. */
	append(
		log: string,
		events: readonly ReplayEvent[],
		cursor: string,
		limit: number
	): Promise<ReplaySlice>;
	since(log: string, cursor: string, limit: number): Promise<ReplaySlice>;
	bounds(log: string): Promise<ReplayBounds>;
	clear?(log: string): Promise<void>;
	limit: NonNullable<ReplayStore['limit']>;
	release: NonNullable<ReplayStore['release']>;
}

/** A backend behind its circuit breaker. */
export interface GuardedBackend {
	readonly name: string;
	readonly breaker: Breaker;
	readonly replay: SharedStore | undefined;
	readonly bus: BackendBus | undefined;
	readonly feed: BackendFeed | undefined;
	readonly rateLimit: RateLimitStore | undefined;
	readonly idempotency: IdempotencyStore | undefined;
	readonly presence: PresenceStore | undefined;
	readonly streams: StreamDirectory | undefined;
}

/** Time limit of one call to a backend, in milliseconds. */
const BACKEND_TIMEOUT_MS = 2_000;

const guarded = new WeakMap<RealtimeBackend, GuardedBackend>();

/** How many endpoints use a backend. */
const users = new WeakMap<RealtimeBackend, number>();

/**
 * Counts an endpoint as a user of its backend. The last one to leave ends the backend's own connections.
 *
 * @returns a function that removes it again.
 */
export function retainBackend(backend: RealtimeBackend): () => void {
	users.set(backend, (users.get(backend) ?? 0) + 1);
	return () => {
		const left = users.get(backend)! - 1;
		users.set(backend, left);
		// If this fails, nobody needs the connection any more.
		if (left === 0) void new Promise((resolve) => resolve(backend.close?.())).catch(() => {});
	};
}

/** Puts a backend behind its breaker, which all endpoints that name the backend share. */
export function guardBackend(backend: RealtimeBackend): GuardedBackend {
	let guard = guarded.get(backend);
	if (!guard) {
		const {
			name,
			timeoutMs = BACKEND_TIMEOUT_MS,
			replay,
			bus,
			feed,
			presence,
			streams,
			rateLimit,
			idempotency
		} = backend;
		const breaker = new Breaker(name, timeoutMs);
		guard = {
			name,
			breaker,
			replay: replay && shareStore(replay, breaker),
			bus: bus && guardBus(bus, breaker),
			feed,
			presence: presence && guardPresence(presence, breaker),
			// A question may use its whole time limit; that says nothing about the backend.
			streams,
			rateLimit: rateLimit && guardCalls(rateLimit, breaker, ['take', 'block']),
			idempotency: idempotency && {
				...guardCalls(idempotency, breaker, ['begin', 'renew', 'finish', 'fail']),
				maxResultBytes: idempotency.maxResultBytes
			}
		};
		guarded.set(backend, guard);
	}
	return guard;
}

/** The same store, with every call going through the breaker. */
function guardCalls<TStore extends object>(
	store: TStore,
	breaker: Breaker,
	methods: readonly (keyof TStore)[]
): TStore {
	const guarded = methods.map((method) => {
		const call = store[method] as (...args: unknown[]) => unknown;
		return [method, (...args: unknown[]) => breaker.run(() => call.apply(store, args))];
	});
	return Object.fromEntries(guarded) as TStore;
}

function shareStore(store: ReplayStore, breaker: Breaker): SharedStore {
	return {
		append: (log, events, cursor, limit) =>
			breaker.run(async () => {
				if (store.appendAndRead) {
					return checkSlice(await store.appendAndRead(log, events, cursor, limit));
				}
				await store.append(log, events);
				return checkSlice(await store.since(log, cursor, limit));
			}),
		since: (log, cursor, limit) =>
			breaker.run(async () => checkSlice(await store.since(log, cursor, limit))),
		bounds: (log) =>
			breaker.run(async () => {
				const bounds = await store.bounds(log);
				checkCursor(bounds.first);
				checkCursor(bounds.last);
				return bounds;
			}),
		...(store.clear && { clear: (log) => breaker.run(async () => store.clear!(log)) }),
		limit: (log, limits) => store.limit?.(log, limits),
		release: (log) => store.release?.(log)
	};
}

function guardBus(bus: BackendBus, breaker: Breaker): BackendBus {
	return {
		isTransactional: bus.isTransactional ?? false,
		publish(log, event, options) {
			// A failure of the app's own transaction says nothing about the backend.
			if (options?.tx !== undefined) return bus.publish(log, event, options);
			return breaker.run(() => bus.publish(log, event, options));
		},
		listen: (log, listener) => bus.listen(log, listener),
		...(bus.probe && {
			probe: (log, timeoutMs) => breaker.run(() => bus.probe!(log, timeoutMs))
		})
	};
}

function guardPresence(store: PresenceStore, breaker: Breaker): PresenceStore {
	return {
		join: (...args) => breaker.run(() => store.join(...args)),
		update: (...args) => breaker.run(() => store.update(...args)),
		leave: (...args) => breaker.run(() => store.leave(...args)),
		members: (channel) => breaker.run(() => store.members(channel)),
		renew: (...args) => breaker.run(() => store.renew(...args)),
		reap: () => breaker.run(() => store.reap()),
		holdsLeases: store.holdsLeases ?? false,
		listen: (...args) => store.listen(...args)
	};
}

function checkSlice(slice: ReplaySlice): ReplaySlice {
	for (const { cursor } of slice.events) checkCursor(cursor);
	return slice;
}

function checkCursor(cursor: string): void {
	if (typeof cursor === 'string' && parseCursor(cursor)) return;
	throw new TypeError(
		`The replay store answered with the cursor ${JSON.stringify(cursor)}; a cursor is "<epoch>-<sequence>".`
	);
}

/** Rejects when the answer takes too long; a later answer is ignored. */
function answered<T, R>(answer: Answer<T>, then: (value: T) => R): R | Promise<R> {
	return inTime(whenReady(answer, then), STORE_TIMEOUT_MS, noAnswer);
}

/** The error of a store that does not answer. */
export function noAnswer(): Error {
	return new Error(`The replay store has not answered for ${STORE_TIMEOUT_MS / 1000} s.`);
}
