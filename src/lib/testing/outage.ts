import type { BackendBus, BusListener, RealtimeBackend, ReplayStore } from '../server/index.js';
import { Faults, type EndFault } from './faults.js';

/** Methods of a store that never fail: the hub does not wait for them. */
const SILENT = new Set(['limit', 'release', 'close', 'size', 'listen']);

/** Makes a backend or a store unavailable for a while: every call fails meanwhile. */
export class Outage {
	readonly #outages = new Faults<Error>();
	readonly #listeners = new Set<BusListener>();

	/** Makes it unavailable until the returned function is called. */
	begin(): EndFault {
		const error = new Error('The test made the backend unavailable.');
		const end = this.#outages.begin(error, () => {
			if (this.#error) return;
			for (const listener of [...this.#listeners]) listener.live();
		});
		for (const listener of [...this.#listeners]) listener.lost(error);
		return end;
	}

	get #error(): Error | undefined {
		return this.#outages.active[0];
	}

	/** The same backend, which can be made unavailable. */
	backend(backend: RealtimeBackend): RealtimeBackend {
		const { replay, bus, presence, rateLimit, idempotency } = backend;
		return {
			name: backend.name,
			...(backend.timeoutMs !== undefined && { timeoutMs: backend.timeoutMs }),
			...(replay && { replay: this.store(replay) }),
			...(bus && { bus: this.#bus(bus) }),
			...(presence && { presence: this.store(presence) }),
			...(rateLimit && { rateLimit: this.store(rateLimit) }),
			...(idempotency && { idempotency: this.store(idempotency) }),
			close: () => backend.close?.()
		};
	}

	/** The same store, which can be made unavailable. */
	store<TStore extends object>(store: TStore): TStore {
		return new Proxy(store, {
			get: (target, name) => {
				const value: unknown = Reflect.get(target, name, target);
				if (typeof value !== 'function') return value;
				return (...args: unknown[]): unknown => {
					if (this.#error && !SILENT.has(String(name))) throw this.#error;
					return value.apply(target, args) as unknown;
				};
			}
		});
	}

	#bus(bus: BackendBus): BackendBus {
		const calls = this.store(bus);
		return {
			...(bus.isTransactional && { isTransactional: true }),
			publish: (...args) => calls.publish(...args),
			...(bus.probe && { probe: (...args) => calls.probe!(...args) }),
			listen: (log, listener) => {
				const heard: BusListener = {
					isLive: () => !this.#error && (listener.isLive?.() ?? false),
					settled: () => listener.settled?.(),
					events: (events) => this.#error || listener.events(events),
					live: () => this.#error || listener.live(),
					lost: (error) => listener.lost(error)
				};
				const stop = bus.listen(log, heard);
				this.#listeners.add(heard);
				return () => {
					this.#listeners.delete(heard);
					stop();
				};
			}
		};
	}
}

/** Whether an app keeps its messages in its own store. */
export function isStore(replay: unknown): replay is ReplayStore {
	return typeof replay === 'object' && replay !== null && 'append' in replay;
}
