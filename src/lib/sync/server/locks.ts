/**
 * Lets what touches the same row run one after another, in the order of its arrival, so that readers hear of
 * changes in the order in which they were made.
 */
export class Locks {
	readonly #tails = new Map<string, Promise<void>>();

	/** Runs `work` after all that was given one of these keys before. */
	async hold<T>(keys: readonly string[], work: () => Promise<T>): Promise<T> {
		let release!: () => void;
		const done = new Promise<void>((resolve) => (release = resolve));
		// All at once, so that no two can wait for each other.
		const before = keys.map((key) => this.#tails.get(key));
		for (const key of keys) this.#tails.set(key, done);
		try {
			await Promise.all(before);
			return await work();
		} finally {
			release();
			for (const key of keys) {
				if (this.#tails.get(key) === done) this.#tails.delete(key);
			}
		}
	}
}
