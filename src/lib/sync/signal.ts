import { createSubscriber } from 'svelte/reactivity';

/** Something that changes outside Svelte; effects and templates that called `track` run again. */
export class Changes {
	readonly #listeners = new Set<() => void>();
	readonly track: () => void = createSubscriber((update) => {
		this.#listeners.add(update);
		return () => this.#listeners.delete(update);
	});

	emit(): void {
		for (const listener of [...this.#listeners]) listener();
	}
}
