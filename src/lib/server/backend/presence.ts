/** A member of a channel, as the backend keeps it: one per id, whatever the number of its streams. */
export interface PresenceMember {
	id: string;
	/** JSON of what the server and the member's pages say about it. */
	data: string;
	/** Open streams of this member, in all processes. */
	streams: number;
	/** When it joined, in milliseconds since the epoch. */
	joinedAt: number;
	/**
	 * Rises with each change of the channel, so that whoever hears of two changes of a member knows
	 * which is the newer one.
	 */
	version: number;
}

/** A change of a channel's members; a leave carries the member as it was last, with a version of its own. */
export interface PresenceChange {
	type: 'join' | 'update' | 'leave';
	member: PresenceMember;
}

/** Leases that last as long as a line. */
export interface PresenceLease {
	owner: string;
	/** How long, in milliseconds, the line may be away before the leases run out. */
	leaseMs: number;
}

/** Somebody who listens to a channel's members. None of its methods may throw. */
export interface PresenceListener {
	/** Changes of all processes, this one included, in order. */
	changes(changes: readonly PresenceChange[]): void;
	/**
	 * Changes may have been missed: read `members`.
	 *
	 * @param isForgotten Whether the store may have lost the leases of the listener's owner as well, so that it
	 *   has to `join` again.
	 */
	check(isForgotten?: boolean): void;
	/** Leases ran out: somebody has to call `reap`. Only where the store `holdsLeases`. */
	due?(): void;
}

/** What a process says about one of its members. */
export interface PresenceHolding {
	id: string;
	/** Data of a member that is new; one that is there keeps its own. */
	data: string;
	/** Streams of the member in this process. */
	streams: number;
	/**
	 * When it joined, where it was a member before, for a store that `holdsLeases` and may have forgotten it. In
	 * milliseconds since the epoch.
	 * @default now
	 */
	joinedAt?: number;
}

/** What came of a `join`. */
export type PresenceJoined =
	/** `isNew`: it was not a member before, in the whole fleet. */
	| { isFull: false; isNew: boolean; member: PresenceMember }
	/** It is not a member, and the channel has as many as it may have. */
	| { isFull: true };

/**
 * Who is in a channel, in all processes. Each process holds a lease for each of its members and renews
 * them; those of a process that died run out, and exactly one process gets to announce the leave.
 */
export interface PresenceStore {
	/**
	 * Process `owner` has a member, with so many streams. Saying the same again changes nothing but the
	 * lease; one that had run out is a change, because `members` left it out meanwhile.
	 *
	 * @param limits.leaseMs Milliseconds after which the lease runs out unless it is renewed.
	 * @param limits.maxMembers Members that the channel may have, counted in the same step.
	 */
	join(
		channel: string,
		owner: string,
		holding: PresenceHolding,
		limits: { leaseMs: number; maxMembers?: number | undefined }
	): PromiseLike<PresenceJoined>;
	/** Replaces the data of members; whoever is not a member stays none. */
	update(channel: string, changes: readonly { id: string; data: string }[]): PromiseLike<void>;
	/**
	 * Gives up the lease of process `owner`.
	 *
	 * @returns the member, if that was its last lease, so that it left.
	 */
	leave(channel: string, owner: string, id: string): PromiseLike<PresenceMember | null>;
	/** The members whose leases have not run out, oldest first. */
	members(channel: string): PromiseLike<readonly PresenceMember[]>;
	/**
	 * Makes all leases that `owner` holds run out in `leaseMs` milliseconds.
	 *
	 * @returns how many these are; fewer than the process thinks means that some ran out.
	 */
	renew(owner: string, leaseMs: number): PromiseLike<number>;
	/**
	 * Removes leases that ran out, and with the last one the member.
	 *
	 * @returns members that this call removed; no other process gets them.
	 */
	reap(): PromiseLike<readonly { channel: string; member: PresenceMember }[]>;
	/**
	 * Whether leases last for as long as their owner listens, so that nobody has to renew them, and the
	 * store says when they have to be reaped.
	 * @default false
	 */
	readonly holdsLeases?: boolean;
	/**
	 * Hears of the changes of a channel.
	 *
	 * @param lease Whose leases last as long as this line does, and `leaseMs` milliseconds longer; only where the
	 *   store `holdsLeases`.
	 * @returns a function that removes the listener.
	 */
	listen(channel: string, listener: PresenceListener, lease?: PresenceLease): () => void;
}
