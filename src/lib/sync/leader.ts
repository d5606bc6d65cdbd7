/** Clients of this page that lead or wait to, by the name of their lock; the last one does. */
const own = /* @__PURE__ */ new Map<string, Candidate[]>();

interface Candidate {
	ask(): void;
	pause(): void;
}

/**
 * Waits until this tab is the one that syncs. A client that is created anew in the same page takes the place of
 * the one before, which may have been forgotten, until it ends.
 *
 * @param start Begins to sync. @returns a function that ends it.
 * @returns a function that lets another tab lead.
 */
export function lead(name: string, start: () => () => void): () => void {
	const lock = `sveltekit-inngest sync ${name}`;
	let leave = (): void => {};
	const ask = (): void => {
		const { locks } = globalThis.navigator ?? {};
		if (!locks) {
			leave = start();
			return;
		}
		// One request that waits: between two that do not, another tab may win.
		const asked = new AbortController();
		leave = () => asked.abort();
		const held = (): Promise<void> =>
			new Promise((resolve) => {
				if (asked.signal.aborted) return resolve();
				const stop = start();
				leave = () => {
					stop();
					resolve();
				};
			});
		locks.request(lock, { signal: asked.signal }, held).catch(() => {});
	};
	const pause = (): void => {
		leave();
		leave = () => {};
	};
	const one: Candidate = { ask, pause };
	const isLast = (): boolean => own.get(lock)?.at(-1) === one;
	const resume = ({ persisted }: PageTransitionEvent): void => {
		if (persisted && isLast()) ask();
	};
	const others = own.get(lock) ?? [];
	others.at(-1)?.pause();
	own.set(lock, [...others, one]);
	// A page in the back/forward cache would keep the lock, and do nothing.
	globalThis.addEventListener?.('pagehide', pause);
	globalThis.addEventListener?.('pageshow', resume);
	ask();
	return () => {
		const wasLast = isLast();
		pause();
		globalThis.removeEventListener?.('pagehide', pause);
		globalThis.removeEventListener?.('pageshow', resume);
		const rest = own.get(lock)!.filter((other) => other !== one);
		own.set(lock, rest);
		if (rest.length === 0) own.delete(lock);
		else if (wasLast) rest.at(-1)!.ask();
	};
}
