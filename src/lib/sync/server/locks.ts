import type { SyncKey } from '../shared/table.js';

/**
 * Lets what touches the same row run one after another, in the order of its arrival, so that readers hear of
 * changes in the order in which they were made.
 */
export class Locks {
	readonly #tails = new Map<string, Promise<void>>();
	/** Keys that something else touched while they are held. */
	readonly #touched = new Set<string>();

	/** Says that something that holds no lock has changed what this key stands for. */
	touch(key: string): void {
		if (this.#tails.has(key)) this.#touched.add(key);
	}

	/**
	 * Runs `work` after all that was given one of these keys before.
	 *
	 * @param work It gets a function that tells whether something else touched one of the keys meanwhile.
	 */
	async hold<T>(
		keys: readonly string[],
		work: (isTouched: () => boolean) => Promise<T>
	): Promise<T> {
		let release!: () => void;
		const done = new Promise<void>((resolve) => (release = resolve));
		// All at once, so that no two can wait for each other.
		const before = keys.map((key) => this.#tails.get(key));
		for (const key of keys) this.#tails.set(key, done);
		try {
			await Promise.all(before);
			return await work(() => keys.some((key) => this.#touched.has(key)));
		} finally {
			release();
			for (const key of keys) {
				if (this.#tails.get(key) !== done) continue;
				this.#tails.delete(key);
				this.#touched.delete(key);
			}
		}
	}
}

/** What the lock of a row is called. */
export function lockOf(key: SyncKey): string {
	return JSON.stringify(key);
}
