import { hash } from '../runtime/hash.js';

/** Most texts that are remembered. */
const MAX_TEXTS = 1_000;

/** Remembers the newest of many texts by their hashes, so that it holds none of them. */
export class RecentTexts {
	readonly #hashes = new Set<string>();

	add(text: string): void {
		this.#hashes.add(hash(text));
		if (this.#hashes.size > MAX_TEXTS) this.#hashes.delete(this.#hashes.values().next().value!);
	}

	has(text: string): boolean {
		return this.#hashes.size > 0 && this.#hashes.has(hash(text));
	}
}
