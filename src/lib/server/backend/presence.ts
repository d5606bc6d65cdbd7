/** A member of a channel, as the backend keeps it: one per id, whatever the number of its streams. */
export interface PresenceMember {
	id: string;
	/** JSON of what the server and the member's pages say about it. */
	data: string;
	/** Open streams of this member, in all processes. */
	streams: number;
	/** When it joined, in milliseconds since the epoch. */
	joinedAt: number;
}

/** A change of a channel's members. */
export type PresenceChange =
	{ type: 'join' | 'update'; member: PresenceMember } | { type: 'leave'; id: string };

/** Somebody who listens to a channel's members. None of its methods may throw. */
export interface PresenceListener {
	changes(changes: readonly PresenceChange[]): void;
	/** Changes may have been missed: read `members`. */
	check(): void;
}

/**
 * Who is in a channel, in all processes. Each process holds leases for its own members and renews them;
 * those of a process that died run out, and exactly one process announces the leave.
 */
export interface PresenceStore {
	/**
	 * A stream of a member opened in process `owner`.
	 *
	 * @returns whether the member is new to the channel, in the whole fleet.
	 */
	join(
		channel: string,
		owner: string,
		member: { id: string; data: string },
		leaseMs: number
	): PromiseLike<{ isNew: boolean; member: PresenceMember }>;
	/** The data of a member changed. */
	update(channel: string, id: string, data: string): PromiseLike<void>;
	/**
	 * The last stream of a member in process `owner` is gone, its grace period included.
	 *
	 * @returns whether it was the last one of the fleet, so that the member left.
	 */
	leave(channel: string, owner: string, id: string): PromiseLike<{ isGone: boolean }>;
	members(channel: string): PromiseLike<readonly PresenceMember[]>;
	/** Extends the leases of all members that `owner` holds. */
	renew(owner: string, leaseMs: number): PromiseLike<void>;
	/**
	 * Removes members whose leases ran out.
	 *
	 * @returns those that this call removed; no other process gets them.
	 */
	reap(): PromiseLike<readonly { channel: string; id: string }[]>;
	listen(channel: string, listener: PresenceListener): () => void;
}
