/** What a page tells of itself; the browser's `window` and `document` unless injected. */
export interface PageEnvironment {
	window: EventTarget;
	document: EventTarget & { readonly visibilityState: string };
}

/** What becomes of the page. */
export interface PageEvents {
	/** It is away, is back, or was shown: what waits may try now. */
	onChange(): void;
	/** The network is back: an open stream may be dead without knowing. */
	onOnline(): void;
}

/** Whether the page is there. */
export interface Page {
	/** Whether the page is left, or has been hidden for long enough. */
	isAway(): boolean;
	/** Sets the milliseconds after which a hidden page counts as away; `false` is never. */
	pauseOnHidden(ms: number | false | undefined): void;
	close(): void;
}

/**
 * Watches the page until it is closed. A page that is left (`pagehide`) must hold no connection to be
 * kept in the back/forward cache; one that is hidden may let go of it after a while.
 */
export function watchPage(
	{ onChange, onOnline }: PageEvents,
	{ window, document }: PageEnvironment = globalThis
): Page {
	const end = new AbortController();
	const { signal } = end;
	let pauseMs: number | false | undefined;
	let timer: ReturnType<typeof setTimeout> | undefined;
	let isHidden = false;
	let isLeft = false;
	const isAway = () => isLeft || isHidden;
	const set = (left: boolean, hidden: boolean) => {
		const before = isAway();
		isLeft = left;
		isHidden = hidden;
		if (isAway() !== before) onChange();
	};
	const follow = () => {
		clearTimeout(timer);
		const hidden = document.visibilityState === 'hidden';
		// A timer takes no more, and who asks for more means never.
		if (!hidden || typeof pauseMs !== 'number' || pauseMs >= 2 ** 31) set(isLeft, false);
		else timer = setTimeout(() => set(isLeft, true), pauseMs);
		return hidden;
	};
	const on = (target: EventTarget, type: string, listener: () => void) =>
		target.addEventListener(type, listener, { signal });
	on(window, 'online', onOnline);
	on(window, 'pagehide', () => set(true, isHidden));
	on(window, 'pageshow', () => set(false, isHidden));
	on(document, 'visibilitychange', () => {
		if (!follow()) onChange();
	});
	return {
		isAway,
		pauseOnHidden(ms) {
			if (ms === pauseMs) return;
			pauseMs = ms;
			follow();
		},
		close() {
			clearTimeout(timer);
			end.abort();
		}
	};
}
