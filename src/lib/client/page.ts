/** What a page tells of itself; the browser's `window` and `document` unless injected. */
export interface PageEnvironment {
	window: EventTarget;
	document: EventTarget & { readonly visibilityState: string };
}

/** What becomes of the page. */
export interface PageEvents {
	/** `away` has changed. */
	onChange(): void;
	/** The page was shown: what waits may try now. */
	onWake(): void;
	/** The network is back: an open stream may be dead without knowing. */
	onOnline(): void;
}

/**
 * Knows whether the page is there. A page that is left (`pagehide`) must hold no connection to be kept
 * in the back/forward cache; one that is hidden may let go of it after a while. Listens from its
 * creation until `close`.
 */
export class Page {
	#hidden = false;
	#left = false;
	#timer: ReturnType<typeof setTimeout> | undefined;
	#pauseOnHidden: number | false = false;
	readonly #environment: PageEnvironment;
	readonly #events: PageEvents;
	readonly #listeners: [EventTarget, string, () => void][];

	constructor(
		events: PageEvents,
		environment: PageEnvironment = { window: globalThis.window, document: globalThis.document }
	) {
		this.#events = events;
		this.#environment = environment;
		const { window, document } = environment;
		this.#listeners = [
			[window, 'online', () => events.onOnline()],
			[window, 'pagehide', () => this.#leave(true)],
			[window, 'pageshow', () => this.#leave(false)],
			[
				document,
				'visibilitychange',
				() => {
					this.#watch();
					if (!this.#isHidden) events.onWake();
				}
			]
		];
		for (const [target, type, listener] of this.#listeners) target.addEventListener(type, listener);
	}

	/** Whether the page is left, or has been hidden for long enough. */
	get away(): boolean {
		return this.#left || this.#hidden;
	}

	/** Milliseconds after which a hidden page counts as away, or `false`. */
	set pauseOnHidden(ms: number | false) {
		if (ms === this.#pauseOnHidden) return;
		this.#pauseOnHidden = ms;
		this.#watch();
	}

	close(): void {
		clearTimeout(this.#timer);
		for (const [target, type, listener] of this.#listeners) {
			target.removeEventListener(type, listener);
		}
	}

	#leave(left: boolean): void {
		if (left === this.#left) return;
		this.#left = left;
		this.#events.onChange();
	}

	#watch(): void {
		clearTimeout(this.#timer);
		const ms = this.#pauseOnHidden;
		if (ms === false || !this.#isHidden) this.#hide(false);
		else this.#timer = setTimeout(() => this.#hide(true), ms);
	}

	get #isHidden(): boolean {
		return this.#environment.document.visibilityState === 'hidden';
	}

	#hide(hidden: boolean): void {
		if (hidden === this.#hidden) return;
		this.#hidden = hidden;
		this.#events.onChange();
	}
}
