import { liveQuery } from 'dexie';
import { createSubscriber } from 'svelte/reactivity';
import { follow } from '../../client/state/lifetime.svelte.js';
import { reopened } from '../storage/database.js';

/** What a live query reads now: runes. */
export interface LiveQuery<T, TInitial = undefined> {
	/** The newest result, or `initial` before the first one. It stays while the query runs again. */
	readonly current: T | TInitial;
	/** Whether there is no result yet for the present dependencies, and no `initial`. */
	readonly isLoading: boolean;
	/** What the query threw, or `undefined` once it has a result again. */
	readonly error: unknown;
}

/** Options of `createLiveQuery`. */
export interface LiveQueryOptions<TInitial> {
	/** The result until the first one is read, for example from `load` if the page is rendered on the server. */
	initial?: TInitial;
}

/**
 * Runs a query on the local copy, and runs it again whenever the rows that it read change. It starts with the
 * first component or effect that reads it, and stops after the last. On the server it stays at `initial`.
 *
 * @param query Reads with Dexie. It is given what `deps` returns. A change of other state does not run it again.
 * @param deps State that the query depends on. It runs again when one of these changes.
 * @example
 * ```ts
 * const open = createLiveQuery(
 *   (listId) => sync.todos.where({ listId, done: 0 }).toArray(),
 *   () => listId,
 *   { initial: data.todos }
 * );
 * ```
 */
export function createLiveQuery<T, TDeps = undefined, TInitial = undefined>(
	query: (deps: TDeps) => T | Promise<T>,
	deps: (() => TDeps) | undefined = undefined,
	options: LiveQueryOptions<TInitial> = {}
): LiveQuery<T, TInitial> {
	let current = options.initial as T | TInitial;
	let isLoading = !('initial' in options);
	let error: unknown;
	let hasRun = false;
	const track = createSubscriber((update) =>
		follow(
			() => [deps?.()] as [TDeps],
			([given]) => {
				if (hasRun && !isLoading) {
					// What is here is of other dependencies.
					isLoading = deps !== undefined;
					update();
				}
				hasRun = true;
				const start = (): (() => void) => {
					const subscription = liveQuery(async () => outcome(() => query(given))).subscribe({
						next(outcome) {
							if ('result' in outcome) current = outcome.result;
							isLoading = false;
							error = 'thrown' in outcome ? outcome.thrown : undefined;
							update();
						}
					});
					return () => subscription.unsubscribe();
				};
				let stop = start();
				const again = (): void => {
					stop();
					stop = start();
				};
				reopened.add(again);
				return () => {
					stop();
					reopened.delete(again);
				};
			}
		)
	);
	const read = <TValue>(value: () => TValue): TValue => {
		track();
		return value();
	};
	return {
		get current() {
			return read(() => current);
		},
		get isLoading() {
			return read(() => isLoading);
		},
		get error() {
			return read(() => error);
		}
	};
}

/** Whether a run was cut off, and another one follows. */
function isCut(thrown: unknown): boolean {
	return /^(DatabaseClosed|Abort)Error$/.test((thrown as Error | undefined)?.name ?? '');
}

/** What a query gave or threw: Dexie does not run a query again that throws at first. */
async function outcome<T>(
	query: () => T | Promise<T>
): Promise<{ result: T } | { thrown: unknown }> {
	try {
		return { result: await query() };
	} catch (thrown) {
		if (isCut(thrown)) throw thrown;
		return { thrown };
	}
}
