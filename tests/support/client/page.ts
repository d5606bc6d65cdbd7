/** A page without a browser. */
export class FakePage {
	readonly window = new CountingTarget();
	readonly document = new CountingTarget();
	visibilityState = 'visible';

	constructor() {
		Object.assign(this.document, { baseURI: 'http://localhost/some/page' });
		Object.defineProperty(this.document, 'visibilityState', { get: () => this.visibilityState });
	}

	/** Listeners that are attached now. */
	get listeners(): number {
		return this.window.count + this.document.count;
	}

	tell(event: 'online' | 'offline' | 'beforeunload' | 'pagehide' | 'pageshow'): void {
		this.window.dispatchEvent(new Event(event));
	}

	show(visible: boolean): void {
		this.visibilityState = visible ? 'visible' : 'hidden';
		this.document.dispatchEvent(new Event('visibilitychange'));
	}
}

class CountingTarget extends EventTarget {
	count = 0;
	override addEventListener(
		type: string,
		listener: EventListener,
		options: AddEventListenerOptions
	): void {
		this.count++;
		options.signal?.addEventListener('abort', () => this.count--);
		super.addEventListener(type, listener, options);
	}
}
