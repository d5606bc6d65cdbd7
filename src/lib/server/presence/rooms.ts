import type { ChannelLike } from '../../protocol/channel.js';
import type { RealtimeMember } from '../../protocol/presence.js';
import type { PresenceListener, PresenceMember, PresenceStore } from '../backend/presence.js';
import { detached } from '../runtime/context.js';
import { unref } from '../runtime/runtime.js';
import type { RealtimePresenceOptions } from './options.js';
import { Room, type PresenceSelf } from './room.js';

/** How long, in milliseconds, after the store was away others may take to renew their leases. */
const RETURN_MS = 10_000;

/** How many times in a row a process sees leases that it does not know of before it gives up its name. */
const MAX_SURPLUS = 2;

/** How many times in a heartbeat a process looks for what is to be done. */
const LOOKS = 4;

/** Looks from one renewal of its leases to the next: one that is missed ends no lease. */
const LOOKS_PER_RENEWAL = 2;

/** A channel with presence. */
export interface PresenceChannel {
	/** Key of its registry entry. */
	entry: string;
	/** Its name. */
	channel: string;
	definition: ChannelLike;
	options: RealtimePresenceOptions;
}

/** A hook of the app for members. */
export type PresenceHook = 'presence.onJoin' | 'presence.onLeave' | 'presence.onFull';

/** What rooms are made with. */
export interface RoomsOptions {
	store: PresenceStore;
	/** Names their process, or their stream, in the store. */
	owner: string;
	/** Whether the store is away now. */
	isAway(): boolean;
	/** Whether other processes share the store. */
	isShared: boolean;
	heartbeatMs: number;
	/** Runs work in the request that the rooms belong to. */
	run(work: () => void): void;
	/** Called some times in a heartbeat. */
	looked(): void;
	/** Members whose leases ran out. */
	reaped(members: Awaited<ReturnType<PresenceStore['reap']>>): void;
	/** Something happened that a hook of the app may want to know. */
	told(
		hook: PresenceHook,
		place: PresenceChannel,
		member: RealtimeMember<Record<string, unknown>>
	): void;
	/** There is no room any more. */
	idle(): void;
}

/**
 * The rooms of one process, with the leases of its members in the store. Where a request may not use what
 * another one has made, each stream has rooms of its own.
 */
export class Rooms {
	readonly #options: RoomsOptions;
	readonly #rooms = new Map<string, Room>();
	/** Whether leases run out unless they are renewed. */
	readonly #isRenewing: boolean;
	#owner: string;
	/** How many times in a row the store had leases of this owner that it does not know of. */
	#surplus = 0;
	#timer: ReturnType<typeof setInterval> | undefined;
	#looks = 0;
	/** When leases that ran out mean again that their process died. */
	#reapAfterMs = 0;
	#isOver = false;

	constructor(options: RoomsOptions) {
		this.#options = options;
		this.#owner = options.owner;
		this.#isRenewing = options.isShared && !options.store.holdsLeases;
	}

	get all(): readonly Room[] {
		return [...this.#rooms.values()];
	}

	/** The room of a channel; it is made for its first reader. */
	enter(place: PresenceChannel): Room {
		const key = keyOf(place);
		let room = this.#rooms.get(key);
		if (room) return room;
		const { channel, options } = place;
		const { store, isAway, isShared, heartbeatMs, told } = this.#options;
		const leaseMs = isShared ? heartbeatMs * 1.5 : Infinity;
		const lease = { owner: this.#owner, leaseMs };
		room = new Room(
			{
				key,
				channel,
				owner: () => this.#owner,
				store,
				listen: (listener) => store.listen(key, this.#own(listener), lease),
				leaseMs,
				maxMembers: options.maxMembers,
				joined: (member) => told('presence.onJoin', place, fromStored(member)),
				left: (member) => told('presence.onLeave', place, fromStored(member)),
				full: (self) => told('presence.onFull', place, fromSelf(self)),
				// The store speaks, so it is not away, whatever calls have failed before.
				due: () => void this.#reap(),
				idle: (room) => this.#leave(room)
			},
			isAway()
		);
		this.#rooms.set(key, room);
		this.#timer ??= detached(() =>
			unref(setInterval(() => void this.#look(), heartbeatMs / LOOKS))
		);
		return room;
	}

	/** The store is away. */
	goLocal(): void {
		// Who else is here is not known where each stream has a room: it goes on showing whom it knew.
		if (this.#options.store.holdsLeases) return;
		for (const room of this.all) room.goLocal();
	}

	/** The store is back. */
	restore(): void {
		this.#reapAfterMs = performance.now() + RETURN_MS;
		this.#options.run(() => {
			if (!this.#options.store.holdsLeases) return this.#tellAgain();
			for (const room of this.all) room.check(true);
		});
	}

	/**
	 * Leaves all members to other processes.
	 *
	 * @param leaseMs How long, in milliseconds, they stay members.
	 */
	async handOver(leaseMs: number): Promise<void> {
		this.#isOver = true;
		clearInterval(this.#timer);
		this.#timer = undefined;
		if (!this.#options.isShared) return;
		try {
			await Promise.all(this.all.map((room) => room.handOver()));
			await this.#options.store.renew(this.#owner, leaseMs);
		} catch {
			// They leave when their leases run out.
		}
	}

	/** Lets go of everything. */
	close(): void {
		for (const room of this.all) room.close();
		this.#rooms.clear();
	}

	/** What a room hears is told in the request that it belongs to. */
	#own(listener: PresenceListener): PresenceListener {
		const { run } = this.#options;
		return {
			changes: (changes) => run(() => listener.changes(changes)),
			check: (isForgotten) => run(() => listener.check(isForgotten)),
			due: () => run(() => listener.due?.())
		};
	}

	#leave(room: Room): void {
		if (this.#rooms.get(room.key) === room) this.#rooms.delete(room.key);
		if (this.#rooms.size > 0) return;
		clearInterval(this.#timer);
		this.#timer = undefined;
		this.#options.idle();
	}

	/** Renews leases, and lets go of whoever is gone without a word: here, and in processes that died. */
	async #look(): Promise<void> {
		this.#options.looked();
		if (!this.#isRenewing || this.#options.isAway()) return;
		try {
			if (++this.#looks % LOOKS_PER_RENEWAL === 0) await this.#renew();
		} catch {
			// The breaker tells of a store that is away.
		}
		if (this.#options.isAway() || performance.now() < this.#reapAfterMs) return;
		await this.#reap();
	}

	async #reap(): Promise<void> {
		try {
			this.#options.reaped(await this.#options.store.reap());
		} catch {
			// The breaker tells of a store that is away.
		}
	}

	async #renew(): Promise<void> {
		const { store, heartbeatMs } = this.#options;
		const before = this.#held;
		const isSteady = this.#isSettled;
		const held = await store.renew(this.#owner, heartbeatMs * 1.5);
		if (this.#isOver) return;
		const isSame = before === this.#held;
		this.#surplus = held > before && isSame && isSteady && this.#isSettled ? this.#surplus + 1 : 0;
		// Some ran out: this process was too busy, or the store forgot them.
		if (held < before && isSame) this.#tellAgain();
		else if (this.#surplus >= MAX_SURPLUS) this.#rename();
		else await Promise.all(this.all.map((room) => room.settle()));
	}

	/**
	 * The store took a join that this process has given up, and nobody knows of which channel. Under another
	 * name this process says again who is here; what it held under the old one runs out.
	 */
	#rename(): void {
		this.#surplus = 0;
		this.#owner = crypto.randomUUID();
		this.#tellAgain();
	}

	#tellAgain(): void {
		for (const room of this.all) room.restore();
	}

	get #isSettled(): boolean {
		return this.all.every(({ isSettled }) => isSettled);
	}

	get #held(): number {
		return this.all.reduce((sum, { held }) => sum + held, 0);
	}
}

/** Name of a channel in the store, the same in every process that serves the same registry. */
export function keyOf({ entry, channel }: Pick<PresenceChannel, 'entry' | 'channel'>): string {
	return JSON.stringify([channel, entry]);
}

/** A member as the app knows it. */
export function fromStored({
	id,
	data,
	streams,
	joinedAt
}: PresenceMember): RealtimeMember<Record<string, unknown>> {
	return { id, data: JSON.parse(data) as Record<string, unknown>, streams, joinedAt };
}

/** Somebody who is not a member yet, as the app knows members. */
export function fromSelf({ id, data }: PresenceSelf): RealtimeMember<Record<string, unknown>> {
	return { id, data, streams: 0, joinedAt: Date.now() };
}
