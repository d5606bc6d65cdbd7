import { MAX_TIMER_MS } from '../../protocol/constants.js';

/** What happens to the page. */
export interface PageEvents {
	/** It was hidden, left or shown, or came back: pending attempts may run now. */
	onChange(): void;
	/** The network is back: an open stream may be dead without noticing. */
	onOnline(): void;
}

/** Whether the page is open and not hidden for too long. */
export interface Page {
	/** Whether the page is left, or has been hidden for long enough. */
	isAway(): boolean;
	/** Sets the milliseconds after which a hidden page pauses; `false` is never. */
	pauseOnHidden(ms: number | false | undefined): void;
	/**
	 * Calls `act` at once, unless the page may be about to be left: then a second later, if the page is still
	 * there and there was no other call meanwhile.
	 */
	unlessLeft(act: () => void): void;
	close(): void;
}

/**
 * How long a navigation may take after `beforeunload`, in milliseconds. Firefox and WebKit end the page's
 * requests meanwhile, before `pagehide`.
 */
const LEAVING_MS = 30_000;
/** How long, in milliseconds, an effect of a navigation waits to see whether the page is left. */
const STAYS_MS = 1_000;

/**
 * Watches the page until it is closed. A page that is left (`pagehide`) must hold no connection, or it cannot
 * be kept in the back/forward cache. A hidden page may close it after a while.
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
		// More than the longest delay of a timer means never.
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
