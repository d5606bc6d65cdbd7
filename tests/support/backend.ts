import type {
	BackendBus,
	BusListener,
	Published,
	RealtimeBackend
} from '../../src/lib/server/backend/backend.js';
import { MemoryReplayStore } from '../../src/lib/server/backend/memory.js';
import type { ReplayedEvent, ReplayEvent } from '../../src/lib/server/backend/replay.js';

/** A server that processes share, in memory, with the faults that a real one has. */
export class FakeServer {
	readonly store = new MemoryReplayStore();
	readonly #keys = new Map<string, string>();
	readonly #listeners = new Map<string, Set<BusListener>>();
	/** `down` refuses every call; `silent` takes calls and never answers. */
	state: 'up' | 'down' | 'silent' = 'up';
	/** Calls that arrived, by name. */
	readonly calls: string[] = [];

	/** A backend as one process has it. */
	connect(timeoutMs = 200): RealtimeBackend {
		const bus: BackendBus = {
			publish: (log, event) => this.#call('publish', () => this.#publish(log, event)),
			listen: (log, listener) => this.#listen(log, listener),
			probe: (log, ms) =>
				this.#call('probe', async () => {
					await new Promise((resolve) => setTimeout(resolve, Math.min(ms, 5)));
					return [...(this.#listeners.get(log) ?? [])].some((listener) => listener.isLive?.());
				})
		};
		return {
			name: 'fake',
			timeoutMs,
			bus,
			replay: {
				append: (log, events) =>
					this.#call('append', () => events.map((event) => this.#publish(log, event).cursor)),
				since: (log, cursor, limit) =>
					this.#call('since', () => this.store.since(log, cursor, limit)),
				bounds: (log) => this.#call('bounds', () => this.store.bounds(log)),
				clear: (log) =>
					this.#call('clear', () => {
						this.store.clear(log);
						this.#announce(log, []);
					})
			}
		};
	}

	/** Breaks all lines at once, as a restart does. */
	stop(state: 'down' | 'silent' = 'down'): void {
		this.state = state;
		for (const listeners of this.#listeners.values()) {
			for (const listener of listeners) listener.lost(new Error('The line broke.'));
		}
	}

	start(): void {
		this.state = 'up';
		for (const listeners of this.#listeners.values()) {
			for (const listener of listeners) listener.live();
		}
	}

	#call<T>(name: string, call: () => T | Promise<T>): Promise<T> {
		this.calls.push(name);
		if (this.state === 'silent') return new Promise(() => {});
		if (this.state === 'down') return Promise.reject(new Error('ECONNREFUSED'));
		return new Promise((resolve) => setImmediate(() => resolve(call())));
	}

	#publish(log: string, event: ReplayEvent): Published {
		const key = `${log}\n${event.key}`;
		const known = this.#keys.get(key);
		if (known !== undefined) return { cursor: known, isDuplicate: true };
		const cursor = this.store.append(log, [event])[0]!;
		this.#keys.set(key, cursor);
		const { kind, topic, payload } = event;
		this.#announce(log, [{ cursor, kind, topic, payload }]);
		return { cursor, isDuplicate: false };
	}

	#announce(log: string, events: readonly ReplayedEvent[]): void {
		const listeners = [...(this.#listeners.get(log) ?? [])];
		setImmediate(() => {
			if (this.state === 'up') for (const listener of listeners) listener.events(events);
		});
	}

	#listen(log: string, listener: BusListener): () => void {
		const listeners = this.#listeners.get(log) ?? new Set();
		this.#listeners.set(log, listeners.add(listener));
		if (this.state === 'up') setImmediate(() => listeners.has(listener) && listener.live());
		return () => void listeners.delete(listener);
	}
}
