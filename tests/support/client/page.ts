/** A page without a browser. */
export class FakePage {
	readonly window = new CountingTarget();
	readonly document = new CountingTarget();
	visibilityState = 'visible';

	constructor() {
		Object.defineProperty(this.document, 'visibilityState', { get: () => this.visibilityState });
	}

	/** What a client takes in place of the browser's globals. */
	get environment(): {
		window: EventTarget;
		document: EventTarget & { readonly visibilityState: string };
	} {
		return { window: this.window, document: this.document as never };
	}

	/** Listeners that are attached now. */
	get listeners(): number {
		return this.window.count + this.document.count;
	}

	tell(event: 'online' | 'offline' | 'pagehide' | 'pageshow'): void {
		this.window.dispatchEvent(new Event(event));
	}

	show(visible: boolean): void {
		this.visibilityState = visible ? 'visible' : 'hidden';
		this.document.dispatchEvent(new Event('visibilitychange'));
	}
}

class CountingTarget extends EventTarget {
	count = 0;
	override addEventListener(...args: Parameters<EventTarget['addEventListener']>): void {
		this.count++;
		super.addEventListener(...args);
	}
	override removeEventListener(...args: Parameters<EventTarget['removeEventListener']>): void {
		this.count--;
		super.removeEventListener(...args);
	}
}
