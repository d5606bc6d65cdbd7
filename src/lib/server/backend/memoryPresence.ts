import type {
	PresenceChange,
	PresenceHolding,
	PresenceJoined,
	PresenceListener,
	PresenceMember,
	PresenceStore
} from './presence.js';

interface Lease {
	streams: number;
	/** By the monotonic clock of the process. */
	endMs: number;
}

interface Entry {
	data: string;
	readonly joinedAt: number;
	version: number;
	/** By owner. */
	readonly leases: Map<string, Lease>;
}

/** Members kept in this process. An empty channel takes no memory. */
export class MemoryPresenceStore implements PresenceStore {
	readonly #channels = new Map<string, Map<string, Entry>>();
	readonly #listeners = new Map<string, Set<PresenceListener>>();
	#version: number;

	/** @param version The version before the first: at least as high as any that was handed out before. */
	constructor(version = 0) {
		this.#version = version;
	}

	/** Members and listeners kept now. */
	get size(): { members: number; listeners: number } {
		const sum = (sizes: Iterable<{ size: number }>): number =>
			[...sizes].reduce((total, { size }) => total + size, 0);
		return { members: sum(this.#channels.values()), listeners: sum(this.#listeners.values()) };
	}

	/** Tells one listener if leases have expired that nobody has reaped yet. */
	tellDue(): void {
		const nowMs = performance.now();
		const isDue = ({ leases }: Entry): boolean =>
			[...leases.values()].some(({ endMs }) => endMs <= nowMs);
		if (![...this.#channels.values()].some((entries) => [...entries.values()].some(isDue))) return;
		const [listeners] = this.#listeners.values();
		const [listener] = listeners ?? [];
		listener?.due?.();
	}

	async join(
		channel: string,
		owner: string,
		{ id, data, streams, joinedAt = Date.now() }: PresenceHolding,
		{ leaseMs, maxMembers = Infinity }: { leaseMs: number; maxMembers?: number | undefined }
	): Promise<PresenceJoined> {
		let entries = this.#channels.get(channel);
		let entry = entries?.get(id);
		const isNew = !entry;
		if (!entry) {
			if ((entries?.size ?? 0) >= maxMembers) return { isFull: true };
			if (!entries) this.#channels.set(channel, (entries = new Map()));
			entry = { data, joinedAt, version: 0, leases: new Map() };
			entries.set(id, entry);
		}
		const nowMs = performance.now();
		const lease = entry.leases.get(owner);
		// Readers of the members since the lease expired did not see it.
		const isSame = lease?.streams === streams && lease.endMs > nowMs;
		entry.leases.set(owner, { streams, endMs: nowMs + leaseMs });
		if (!isSame) this.#changed(channel, [[isNew ? 'join' : 'update', id, entry]]);
		return { isFull: false, isNew, member: memberOf(id, entry) };
	}

	async update(channel: string, changes: readonly { id: string; data: string }[]): Promise<void> {
		const entries = this.#channels.get(channel);
		const changed: [PresenceChange['type'], string, Entry][] = [];
		for (const { id, data } of changes) {
			const entry = entries?.get(id);
			if (!entry || entry.data === data) continue;
			entry.data = data;
			changed.push(['update', id, entry]);
		}
		this.#changed(channel, changed);
	}

	async leave(channel: string, owner: string, id: string): Promise<PresenceMember | null> {
		return this.#drop(channel, id, (holder) => holder === owner);
	}

	async members(channel: string): Promise<PresenceMember[]> {
		const nowMs = performance.now();
		return [...(this.#channels.get(channel) ?? [])]
			.filter(([, { leases }]) => [...leases.values()].some(({ endMs }) => endMs > nowMs))
			.map(([id, entry]) => memberOf(id, entry));
	}

	async renew(owner: string, leaseMs: number): Promise<number> {
		const nowMs = performance.now();
		let held = 0;
		for (const entries of this.#channels.values()) {
			for (const { leases } of entries.values()) {
				const lease = leases.get(owner);
				if (!lease || lease.endMs <= nowMs) continue;
				lease.endMs = nowMs + leaseMs;
				held++;
			}
		}
		return held;
	}

	async reap(): Promise<{ channel: string; member: PresenceMember }[]> {
		const nowMs = performance.now();
		return [...this.#channels].flatMap(([channel, entries]) =>
			[...entries.keys()].flatMap((id) => {
				const member = this.#drop(channel, id, (_, { endMs }) => endMs <= nowMs);
				return member ? [{ channel, member }] : [];
			})
		);
	}

	listen(channel: string, listener: PresenceListener): () => void {
		const listeners = this.#listeners.get(channel) ?? new Set();
		this.#listeners.set(channel, listeners.add(listener));
		return () => {
			listeners.delete(listener);
			if (listeners.size === 0 && this.#listeners.get(channel) === listeners) {
				this.#listeners.delete(channel);
			}
		};
	}

	/** Calls `check` of every listener, as a restored connection does. */
	check(): void {
		for (const listeners of this.#listeners.values()) {
			for (const listener of listeners) listener.check();
		}
	}

	/** Ends leases. @returns the member, if this ended its last lease. */
	#drop(
		channel: string,
		id: string,
		isDropped: (owner: string, lease: Lease) => boolean
	): PresenceMember | null {
		const entries = this.#channels.get(channel);
		const entry = entries?.get(id);
		if (!entries || !entry) return null;
		const before = entry.leases.size;
		for (const [owner, lease] of entry.leases) {
			if (isDropped(owner, lease)) entry.leases.delete(owner);
		}
		if (entry.leases.size === before) return null;
		if (entry.leases.size > 0) {
			this.#changed(channel, [['update', id, entry]]);
			return null;
		}
		entries.delete(id);
		if (entries.size === 0) this.#channels.delete(channel);
		this.#changed(channel, [['leave', id, entry]]);
		return memberOf(id, entry);
	}

	#changed(channel: string, changed: readonly [PresenceChange['type'], string, Entry][]): void {
		const changes = changed.map(([type, id, entry]): PresenceChange => {
			entry.version = ++this.#version;
			return { type, member: memberOf(id, entry) };
		});
		if (changes.length === 0) return;
		for (const listener of [...(this.#listeners.get(channel) ?? [])]) listener.changes(changes);
	}
}

function memberOf(id: string, { data, joinedAt, version, leases }: Entry): PresenceMember {
	let streams = 0;
	for (const lease of leases.values()) streams += lease.streams;
	return { id, data, streams, joinedAt, version };
}
