import type {
	BackendBus,
	BusListener,
	Published,
	RealtimeBackend
} from '../../src/lib/server/backend/backend.js';
import { MemoryPresenceStore } from '../../src/lib/server/backend/memoryPresence.js';
import { MemoryReplayStore } from '../../src/lib/server/backend/memory.js';
import { MemoryIdempotencyStore } from '../../src/lib/server/backend/memoryIdempotency.js';
import { MemoryRateLimitStore } from '../../src/lib/server/backend/memoryRateLimit.js';
import type { ReplayedEvent, ReplayEvent } from '../../src/lib/server/backend/replay.js';

/** A server that processes share, in memory, with the faults that a real one has. */
export class FakeServer {
	readonly store = new MemoryReplayStore();
	readonly ran = new MemoryIdempotencyStore();
	readonly presence = new MemoryPresenceStore();
	readonly rates = new MemoryRateLimitStore();
	readonly #keys = new Map<string, string>();
	readonly #listeners = new Map<string, Set<BusListener>>();
	/** `down` refuses every call; `silent` takes calls and never answers. */
	state: 'up' | 'down' | 'silent' = 'up';
	/** Calls that arrived, by name. */
	readonly calls: string[] = [];

	/** Names of processes that joined somewhere. */
	readonly #owners = new Set<string>();

	/**
	 * A backend as one process has it.
	 *
	 * @param line Once it is cut, nothing that the process says arrives, and it hears nothing.
	 */
	connect(timeoutMs = 200, line = { isCut: false }): RealtimeBackend {
		const call = <T>(name: string, run: () => T | Promise<T>): Promise<T> =>
			line.isCut ? new Promise(() => {}) : this.#call(name, run);
		const bus: BackendBus = {
			publish: (log, event) => call('publish', () => this.#publish(log, event)),
			listen: (log, listener) => this.#listen(log, listener),
			probe: (log, ms) =>
				call('probe', async () => {
					const listeners = [...(this.#listeners.get(log) ?? [])];
					const settled = Promise.all(listeners.map((listener) => listener.settled?.()));
					const isInTime = await Promise.race([
						settled.then(() => true),
						new Promise((resolve) => setTimeout(() => resolve(false), ms))
					]);
					return Boolean(isInTime) && listeners.some((listener) => listener.isLive?.());
				})
		};
		return {
			name: 'fake',
			timeoutMs,
			bus,
			idempotency: {
				begin: (id, options) => call('begin', () => this.ran.begin(id, options)),
				renew: (id, token, ms) => call('renew', () => this.ran.renew(id, token, ms)),
				finish: (id, token, result, ms) =>
					call('finish', () => this.ran.finish(id, token, result, ms)),
				fail: (id, token) => call('fail', () => this.ran.fail(id, token))
			},
			presence: {
				join: (...args) =>
					call('presence.join', () => {
						this.#owners.add(args[1]);
						return this.presence.join(...args);
					}),
				update: (...args) => call('presence.update', () => this.presence.update(...args)),
				leave: (...args) => call('presence.leave', () => this.presence.leave(...args)),
				members: (channel) => call('presence.members', () => this.presence.members(channel)),
				renew: (...args) => call('presence.renew', () => this.presence.renew(...args)),
				reap: () => call('presence.reap', () => this.presence.reap()),
				listen: (channel, listener) =>
					this.presence.listen(channel, {
						changes: (changes) =>
							setImmediate(() => this.state === 'up' && !line.isCut && listener.changes(changes)),
						check: () => listener.check()
					})
			},
			rateLimit: {
				take: (...args) => call('take', () => this.rates.take(...args)),
				block: (...args) => call('block', () => this.rates.block(...args))
			},
			replay: {
				append: (log, events) =>
					call('append', () => events.map((event) => this.#publish(log, event).cursor)),
				since: (log, cursor, limit) => call('since', () => this.store.since(log, cursor, limit)),
				bounds: (log) => call('bounds', () => this.store.bounds(log)),
				clear: (log) =>
					call('clear', () => {
						this.store.clear(log);
						this.#announce(log, []);
					})
			}
		};
	}

	/** All leases run out at once. */
	async expire(): Promise<void> {
		for (const owner of this.#owners) await this.presence.renew(owner, -1);
		await this.presence.reap();
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
		this.presence.check();
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
