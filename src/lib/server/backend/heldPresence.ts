import { MemoryPresenceStore } from './memoryPresence.js';
import type { PresenceJoined, PresenceLease, PresenceListener, PresenceStore } from './presence.js';

/** Members in memory whose leases last as long as the connection of their owner. Nobody has to renew them. */
export class HeldPresenceStore extends MemoryPresenceStore {
	readonly holdsLeases = true;
	/** Number of open connections of each owner. */
	readonly #lines = new Map<string, number>();

	override join(
		...[channel, owner, holding, limits]: Parameters<PresenceStore['join']>
	): Promise<PresenceJoined> {
		const leaseMs = this.#lines.has(owner) ? Infinity : limits.leaseMs;
		return super.join(channel, owner, holding, { ...limits, leaseMs });
	}

	override listen(channel: string, listener: PresenceListener, lease?: PresenceLease): () => void {
		const stop = super.listen(channel, listener);
		if (!lease) return stop;
		const { owner, leaseMs } = lease;
		const lines = this.#lines;
		lines.set(owner, (lines.get(owner) ?? 0) + 1);
		void this.renew(owner, Infinity);
		return () => {
			stop();
			const left = lines.get(owner)! - 1;
			if (left > 0) lines.set(owner, left);
			else {
				lines.delete(owner);
				void this.renew(owner, leaseMs);
			}
		};
	}
}
