import { vi } from 'vitest';

interface Request {
	name: string;
	tab: unknown;
	run(): Promise<void>;
	isOver: boolean;
}

/** `navigator.locks` for several tabs in one process: each has one, and its locks are free when it dies. */
export class FakeLocks {
	readonly #requests: Request[] = [];

	/** The locks as one tab sees them. */
	of(tab: unknown): Pick<LockManager, 'request'> {
		const request = (
			name: string,
			{ signal }: { signal: AbortSignal },
			held: () => Promise<void>
		): Promise<void> =>
			new Promise((resolve, reject) => {
				const one: Request = {
					name,
					tab,
					isOver: false,
					run: async () => {
						await held();
						this.#end(one);
						resolve();
					}
				};
				this.#requests.push(one);
				signal.addEventListener('abort', () => {
					if (this.#first(name) === one) return;
					this.#end(one);
					reject(new DOMException('Aborted', 'AbortError'));
				});
				if (this.#first(name) === one) void one.run();
			});
		return { request } as unknown as Pick<LockManager, 'request'>;
	}

	/** Whether a tab has asked for a lock. */
	has(tab: unknown): boolean {
		return this.#requests.some((request) => request.tab === tab);
	}

	/** A tab dies: it says nothing any more, and the next one gets its locks. */
	die(tab: unknown): void {
		for (const one of this.#requests.filter((request) => request.tab === tab)) this.#end(one);
	}

	#first(name: string): Request | undefined {
		return this.#requests.find((one) => one.name === name);
	}

	#end(one: Request): void {
		if (one.isOver) return;
		const wasFirst = this.#first(one.name) === one;
		one.isOver = true;
		this.#requests.splice(this.#requests.indexOf(one), 1);
		if (wasFirst) void this.#first(one.name)?.run();
	}
}

/** A tab: modules of its own. */
export async function openTab(locks: FakeLocks): Promise<{
	sync: typeof import('../../../src/lib/sync/index.js');
	/** Whether it leads or waits to. */
	isReady(): boolean;
	die(): void;
}> {
	const tab = {};
	vi.resetModules();
	const sync = await import('../../../src/lib/sync/index.js');
	const own = locks.of(tab);
	return {
		sync: {
			...sync,
			SyncClient: new Proxy(sync.SyncClient, {
				construct(target, args: [never]) {
					// Asked for a little later, when the copy is open.
					vi.stubGlobal('navigator', { onLine: true, locks: own });
					return new target(...args);
				}
			})
		},
		isReady: () => locks.has(tab),
		die: () => locks.die(tab)
	};
}
