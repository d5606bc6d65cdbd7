/**
 * Runs `start` now, and again whenever state that `read` reads changes. The function that `start` returns is
 * called before each further run, and when the returned function is called. Works inside and outside of
 * components; on the server it does nothing.
 */
export function follow<T>(read: () => T, start: (value: T) => (() => void) | void): () => void {
	let stop: (() => void) | void;
	const destroy = $effect.root(() => {
		const value = $derived(read());
		$effect.pre(() => (stop = start(value)));
	});
	return () => {
		stop?.();
		// Svelte skips the rest of an effect's children when one's teardown destroys the next.
		queueMicrotask(destroy);
	};
}

/** Calls `end` when the surrounding component or effect ends; outside of both, never. */
export function onEnd(end: () => void): void {
	try {
		$effect.pre(() => end);
	} catch {
		// There is no surrounding effect, so the caller or the manager has to end it.
	}
}
