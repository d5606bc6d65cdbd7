import { MAX_TIMER_MS } from '../../protocol/constants.js';

/** What happens to the page. */
export interface PageEvents {
	/** It is away, is back, or was shown: what waits may try now. */
	onChange(): void;
	/** The network is back: an open stream may be dead without knowing it. */
	onOnline(): void;
}

/** Whether the page is there. */
export interface Page {
	/** Whether the page is left, or has been hidden for long enough. */
	isAway(): boolean;
	/** Sets the milliseconds after which a hidden page counts as away; `false` is never. */
	pauseOnHidden(ms: number | false | undefined): void;
	/**
	 * Calls `act` at once, unless the page may be about to be left: then a second later, if it is still
	 * there and nothing else was asked for meanwhile.
	 */
	unlessLeft(act: () => void): void;
	close(): void;
}

/**
 * How long a navigation may take after `beforeunload`, in milliseconds. Firefox and WebKit end the page's
 * requests meanwhile, before `pagehide`.
 */
const LEAVING_MS = 30_000;
/** How long something that came of a navigation waits to see whether the page is left, in milliseconds. */
const STAYS_MS = 1_000;

/**
 * Watches the page until it is closed. A page that is left (`pagehide`) must hold no connection to be
 * kept in the back/forward cache; one that is hidden may let go of it after a while.
 */
export function watchPage({ onChange, onOnline }: PageEvents): Page {
	const end = new AbortController();
	const { signal } = end;
	let pauseMs: number | false | undefined;
	let hiddenTimer: ReturnType<typeof setTimeout> | undefined;
	let isHidden = false;
	let isLeft = false;
	let leavingAt = -Infinity;
	let stayTimer: ReturnType<typeof setTimeout> | undefined;

	const isAway = (): boolean => isLeft || isHidden;
	const set = (left: boolean, hidden: boolean): void => {
		const before = isAway();
		isLeft = left;
		isHidden = hidden;
		if (isAway() !== before) onChange();
	};
	const followVisibility = (): void => {
		clearTimeout(hiddenTimer);
		// More than a timer takes means never.
		const pauses = typeof pauseMs === 'number' && pauseMs <= MAX_TIMER_MS;
		if (!pauses || document.visibilityState !== 'hidden') set(isLeft, false);
		else hiddenTimer = setTimeout(() => set(isLeft, true), pauseMs as number);
	};
	const on = (type: string, listener: () => void, target: EventTarget = window): void =>
		target.addEventListener(type, listener, { signal });
	on('online', onOnline);
	on('beforeunload', () => (leavingAt = performance.now()));
	on('pagehide', () => {
		clearTimeout(stayTimer);
		set(true, isHidden);
	});
	on('pageshow', () => {
		leavingAt = -Infinity;
		set(false, isHidden);
	});
	const onVisibility = (): void => {
		followVisibility();
		if (document.visibilityState !== 'hidden') onChange();
	};
	on('visibilitychange', onVisibility, document);
	return {
		isAway,
		pauseOnHidden(ms) {
			if (ms === pauseMs) return;
			pauseMs = ms;
			followVisibility();
		},
		unlessLeft(act) {
			if (performance.now() - leavingAt > LEAVING_MS) return act();
			clearTimeout(stayTimer);
			stayTimer = setTimeout(act, STAYS_MS);
		},
		close() {
			clearTimeout(hiddenTimer);
			clearTimeout(stayTimer);
			end.abort();
		}
	};
}
