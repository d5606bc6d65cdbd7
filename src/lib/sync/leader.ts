/** Clients of this page that lead or wait to, by the name of their lock. */
const own = /* @__PURE__ */ new Map<string, () => void>();

/**
 * Waits until this tab is the one that syncs. A client that is created anew in the same page takes the place of
 * the one before: that one may have been forgotten.
 *
 * @param start Begins to sync. @returns a function that ends it.
 * @returns a function that lets another tab lead.
 */
export function lead(name: string, start: () => () => void): () => void {
	const lock = `sveltekit-inngest sync ${name}`;
	let isOver = false;
	let leave = (): void => {};
	const ask = (): void => {
		if (isOver) return;
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
	const resume = ({ persisted }: PageTransitionEvent): void => {
		if (persisted) ask();
	};
	const end = (): void => {
		if (isOver) return;
		isOver = true;
		pause();
		globalThis.removeEventListener?.('pagehide', pause);
		globalThis.removeEventListener?.('pageshow', resume);
		if (own.get(lock) === end) own.delete(lock);
	};
	own.get(lock)?.();
	own.set(lock, end);
	// A page in the back/forward cache would keep the lock, and do nothing.
	globalThis.addEventListener?.('pagehide', pause);
	globalThis.addEventListener?.('pageshow', resume);
	ask();
	return end;
}
