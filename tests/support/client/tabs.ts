import { setMaxListeners } from 'node:events';
import { vi } from 'vitest';
import { share } from '../../../src/lib/client/tabs/share.js';
import type { TransportOptions } from '../../../src/lib/client/transport/transport.js';
import type { RealtimeManagerProps } from '../../../src/lib/client/props.js';
import { Client, settle } from './client.js';
import { demo } from './channels.js';
import { FakeEndpoint } from './endpoint.js';

interface Lock {
	tab: FakeTab;
	act: () => unknown;
	settle: (error?: Error) => void;
}

type Options = { signal?: AbortSignal; steal?: boolean };

/** A browser without a browser: Web Locks and BroadcastChannel among its tabs, and one endpoint. */
export class FakeBrowser {
	readonly endpoint = new FakeEndpoint();
	readonly channels = new Set<FakeChannel>();
	readonly #held = new Map<string, Lock>();
	readonly #waiting = new Map<string, Lock[]>();

	/** Opens a tab that shares, and settles. */
	async open(props: Partial<RealtimeManagerProps> = {}): Promise<FakeTab> {
		const tab = new FakeTab(this, { shareTabs: 'alice', ...props });
		await tab.subscribe({ channel: demo });
		return tab;
	}

	request(tab: FakeTab, name: string, options: Options, act: () => unknown): Promise<void> {
		return new Promise((resolve, reject) => {
			const { signal, steal } = options;
			const aborted = (): Error => new DOMException('Aborted', 'AbortError');
			const lock: Lock = { tab, act, settle: (error) => (error ? reject(error) : resolve()) };
			const queue = this.#waiting.get(name) ?? [];
			this.#waiting.set(name, queue);
			if (signal?.aborted) return reject(aborted());
			// A leader waits for the locks of all tabs with one signal.
			if (signal) setMaxListeners(0, signal);
			if (steal) {
				this.#held.get(name)?.settle(aborted());
				this.#held.delete(name);
				queue.unshift(lock);
			} else queue.push(lock);
			signal?.addEventListener('abort', () => {
				const at = queue.indexOf(lock);
				if (at < 0) return;
				queue.splice(at, 1);
				reject(aborted());
			});
			this.#grant(name);
		});
	}

	/** Lets go of all that a tab has or waits for. */
	end(tab: FakeTab): void {
		for (const channel of this.channels) if (channel.tab === tab) this.channels.delete(channel);
		for (const queue of this.#waiting.values()) {
			for (const lock of queue.filter((one) => one.tab === tab))
				queue.splice(queue.indexOf(lock), 1);
		}
		for (const [name, lock] of this.#held) if (lock.tab === tab) this.#release(name, lock);
	}

	#grant(name: string): void {
		queueMicrotask(() => {
			if (this.#held.has(name)) return;
			const lock = this.#waiting.get(name)?.shift();
			if (!lock) return;
			this.#held.set(name, lock);
			void lock.tab
				.run(async () => lock.act())
				.then(
					() => lock.settle(),
					(error) => lock.settle(error as Error)
				)
				.then(() => this.#release(name, lock));
		});
	}

	#release(name: string, lock: Lock): void {
		if (this.#held.get(name) !== lock) return;
		this.#held.delete(name);
		this.#grant(name);
	}
}

class FakeChannel {
	readonly tab: FakeTab;
	readonly name: string;
	onmessage: ((event: { data: unknown }) => void) | undefined;

	constructor(tab: FakeTab, name: string) {
		tab.checkChannels();
		this.tab = tab;
		this.name = name;
		tab.browser.channels.add(this);
	}

	postMessage(message: unknown): void {
		this.tab.checkChannels();
		const data = structuredClone(message);
		this.tab.whenAwake(() => {
			for (const other of this.tab.browser.channels) {
				if (other === this || other.name !== this.name) continue;
				queueMicrotask(() =>
					other.tab.whenAwake(() => other.tab.run(() => other.onmessage?.({ data })))
				);
			}
		});
	}

	close(): void {
		this.tab.browser.channels.delete(this);
	}
}

/** A page that shares with the others of its browser. */
export class FakeTab extends Client {
	readonly browser: FakeBrowser;
	/** Whether its channels throw. */
	isMute = false;
	/** Whether it may have no locks. */
	isLockless = false;
	#asleep: (() => void)[] | undefined;

	constructor(browser: FakeBrowser, props: Partial<RealtimeManagerProps>) {
		super(props, browser.endpoint);
		this.browser = browser;
	}

	override enter(): void {
		super.enter();
		// eslint-disable-next-line @typescript-eslint/no-this-alias
		const tab = this;
		const request = (...[name, options, act]: [string, Options, () => unknown]): Promise<void> =>
			tab.isLockless
				? Promise.reject(new DOMException('Denied', 'SecurityError'))
				: tab.browser.request(tab, name, options, act);
		vi.stubGlobal('navigator', { locks: { request } });
		vi.stubGlobal(
			'BroadcastChannel',
			class extends FakeChannel {
				constructor(name: string) {
					super(tab, name);
				}
			}
		);
	}

	override update(options: TransportOptions): void {
		this.run(() => share(this.bus, options));
	}

	/** Runs code of this page. */
	run<T>(act: () => T): T {
		this.enter();
		return act();
	}

	checkChannels(): void {
		if (this.isMute) throw new DOMException('No channels here', 'InvalidStateError');
	}

	/** Stops it, as the browser does with a page in the background: what it says and hears waits. */
	freeze(): void {
		this.#asleep = [];
	}

	async thaw(): Promise<void> {
		const waiting = this.#asleep ?? [];
		this.#asleep = undefined;
		for (const act of waiting) act();
		await settle();
	}

	whenAwake(act: () => void): void {
		if (this.#asleep) this.#asleep.push(act);
		else act();
	}

	/** Closes it, as a user does. */
	async close(): Promise<void> {
		this.run(() => this.page.tell('pagehide'));
		await this.crash();
	}

	/** Ends it without a word. Its streams end as well. */
	async crash(): Promise<void> {
		this.browser.end(this);
		this.freeze();
		await settle();
	}
}
