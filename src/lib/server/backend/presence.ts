/** A member of a channel, as the backend keeps it: one per id, however many streams it has. */
export interface PresenceMember {
	id: string;
	/** JSON of the data that the server and the member's pages gave. */
	data: string;
	/** Open streams of this member, in all processes. */
	streams: number;
	/** When it joined, in milliseconds since the epoch. */
	joinedAt: number;
	/**
	 * Rises with each change of the channel, so that of two changes of a member the newer one is known.
	 */
	version: number;
}

/** A change of a channel's members. A leave carries the last state of the member, with a new version. */
export interface PresenceChange {
	type: 'join' | 'update' | 'leave';
	member: PresenceMember;
}

/** Leases that last as long as a connection. */
export interface PresenceLease {
	owner: string;
	/** How long, in milliseconds, the connection may be lost before the leases expire. */
	leaseMs: number;
}

/** A listener of a channel's members. None of its methods may throw. */
export interface PresenceListener {
	/** Changes of all processes, including this one, in order. */
	changes(changes: readonly PresenceChange[]): void;
	/**
	 * Changes may have been missed: read `members` again.
	 *
	 * @param isForgotten Whether the store may also have lost the leases of the listener's owner, so that it has
	 *   to `join` again.
	 */
	check(isForgotten?: boolean): void;
	/** Leases have expired, so somebody has to call `reap`. Only if the store `holdsLeases`. */
	due?(): void;
}

/** What a process reports about one of its members. */
export interface PresenceHolding {
	id: string;
	/** Data for a new member; an existing one keeps its data. */
	data: string;
	/** Number of the member's streams in this process. */
	streams: number;
	/**
	 * When it joined, in milliseconds since the epoch, if it was a member before: for a store that `holdsLeases`
	 * and may have forgotten it.
	 * @default now
	 */
	joinedAt?: number;
}

/** The result of a `join`. */
export type PresenceJoined =
	/** `isNew`: it was not a member in any process before. */
	| { isFull: false; isNew: boolean; member: PresenceMember }
	/** It is not a member, because the channel is full. */
	| { isFull: true };

/**
 * Who is in a channel, in all processes. Each process holds a lease for each of its members and renews
 * them; those of a process that died expire, and exactly one process announces the leave.
 */
export interface PresenceStore {
	/**
	 * Process `owner` reports a member, with its number of streams. Reporting the same again only renews the
	 * lease. If the lease had expired it is a change, because `members` left the member out meanwhile.
	 *
	 * @param limits.leaseMs Milliseconds after which the lease expires unless it is renewed.
	 * @param limits.maxMembers Most members of the channel, checked in the same step.
	 */
	join(
		channel: string,
		owner: string,
		holding: PresenceHolding,
		limits: { leaseMs: number; maxMembers?: number | undefined }
	): PromiseLike<PresenceJoined>;
	/** Replaces the data of members. It adds no members. */
	update(channel: string, changes: readonly { id: string; data: string }[]): PromiseLike<void>;
	/**
	 * Gives up the lease of process `owner`.
	 *
	 * @returns the member, if that was its last lease and it has left.
	 */
	leave(channel: string, owner: string, id: string): PromiseLike<PresenceMember | null>;
	/** The members whose leases have not expired, oldest first. */
	members(channel: string): PromiseLike<readonly PresenceMember[]>;
	/**
	 * Makes all leases that `owner` holds expire in `leaseMs` milliseconds.
	 *
	 * @returns how many there are. If this is fewer than the process expects, some have expired.
	 */
	renew(owner: string, leaseMs: number): PromiseLike<number>;
	/**
	 * Removes expired leases, and with its last lease the member.
	 *
	 * @returns members that this call removed. No other process gets them.
	 */
	reap(): PromiseLike<readonly { channel: string; member: PresenceMember }[]>;
	/**
	 * Whether leases last as long as their owner listens, so that nobody has to renew them, and the store tells
	 * when they have to be reaped.
	 * @default false
	 */
	readonly holdsLeases?: boolean;
	/**
	 * Listens to the changes of a channel.
	 *
	 * @param lease Leases that last as long as this connection, and `leaseMs` milliseconds longer. Only if the
	 *   store `holdsLeases`.
	 * @returns a function that removes the listener.
	 */
	listen(channel: string, listener: PresenceListener, lease?: PresenceLease): () => void;
}
