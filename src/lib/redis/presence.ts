import type {
	PresenceChange,
	PresenceHolding,
	PresenceJoined,
	PresenceListener,
	PresenceMember,
	PresenceStore
} from '../server/backend/presence.js';
import type { RedisBus } from './bus.js';
import type { Commands } from './commands.js';
import { hash, type Keys } from './keys.js';
import {
	CLAIM_DUE,
	INDEX_LEASES,
	JOIN,
	LEAVE,
	MEMBERS,
	OWNED,
	REAP,
	RENEW_LEASES,
	SETTLE_DUE,
	UPDATE_MEMBERS,
	type Script
} from './scripts.js';
import { lifetime } from './wire.js';

/** Most members that one script updates. */
const MAX_UPDATED = 500;

/** Most channels that are checked at once, and most in one script. */
const MAX_CHANNELS = 200;

/** Options of presence. */
export interface RedisPresenceOptions {
	readonly bus: RedisBus;
	/** Command that announces changes. */
	readonly publish: 'PUBLISH' | 'SPUBLISH';
	readonly timeoutMs: number;
}

/**
 * Members in Redis. The data of a channel is in one slot, and every step there is one script. Two indexes
 * list the channels that an owner has leases in, and those where leases are about to end. They are in another
 * slot. They are written before a channel and cleaned up after it, so an interruption leaves at most a
 * superfluous entry.
 */
export class RedisPresence implements PresenceStore {
	readonly #commands: Commands;
	readonly #keys: Keys;
	readonly #options: RedisPresenceOptions;

	constructor(commands: Commands, keys: Keys, options: RedisPresenceOptions) {
		this.#commands = commands;
		this.#keys = keys;
		this.#options = options;
	}

	/** Two round trips: the indexes, and the channel. */
	async join(
		channel: string,
		owner: string,
		{ id, data, streams }: PresenceHolding,
		{ leaseMs, maxMembers }: { leaseMs: number; maxMembers?: number | undefined }
	): Promise<PresenceJoined> {
		await this.#index(owner, leaseMs, [channel]);
		const [status, ...member] = await this.#run(
			JOIN,
			channel,
			hash(owner) + id,
			lifetime(leaseMs),
			`${streams}`,
			data,
			maxMembers === undefined || maxMembers === Infinity ? '' : `${maxMembers}`
		);
		if (status === 'full') return { isFull: true };
		return { isFull: false, isNew: status === 'new', member: readMembers(member)[0]! };
	}

	async update(channel: string, changes: readonly { id: string; data: string }[]): Promise<void> {
		for (let from = 0; from < changes.length; from += MAX_UPDATED) {
			const batch = changes.slice(from, from + MAX_UPDATED);
			const args = batch.flatMap(({ id, data }) => [id, data]);
			await this.#run(UPDATE_MEMBERS, channel, ...args);
		}
	}

	async leave(channel: string, owner: string, id: string): Promise<PresenceMember | null> {
		return readMembers(await this.#run(LEAVE, channel, hash(owner) + id))[0] ?? null;
	}

	async members(channel: string): Promise<readonly PresenceMember[]> {
		return readMembers(await this.#run(MEMBERS, channel));
	}

	/** Two round trips for the indexes, and in between one for each channel, many at once. */
	async renew(owner: string, leaseMs: number): Promise<number> {
		const [, owned] = this.#keys.presenceIndex(owner);
		const reply = await this.#commands.run(OWNED, [owned], []);
		const entries = groups(reply, 2).map(([channel, number]) => ({
			channel: channel!,
			number: number!
		}));
		let total = 0;
		for (let from = 0; from < entries.length; from += MAX_CHANNELS) {
			const kept: string[] = [];
			const gone: string[] = [];
			await Promise.all(
				entries.slice(from, from + MAX_CHANNELS).map(async ({ channel, number }) => {
					const [renewed, held] = await this.#run(
						RENEW_LEASES,
						channel,
						hash(owner),
						lifetime(leaseMs)
					);
					total += Number(renewed);
					if (held === '0') gone.push(channel, number);
					else kept.push(channel);
				})
			);
			await this.#index(owner, leaseMs, kept, gone);
		}
		return total;
	}

	/**
	 * Checks the channels in which leases have ended: one round trip, one for each channel, and one more.
	 * Channels that one call does not get to are left to the next.
	 */
	async reap(): Promise<{ channel: string; member: PresenceMember }[]> {
		const endMs = performance.now() + this.#options.timeoutMs / 4;
		const index = this.#keys.presenceIndex('');
		const left: { channel: string; member: PresenceMember }[] = [];
		let claimed: string[];
		do {
			claimed = await this.#commands.run(CLAIM_DUE, index, [`${MAX_CHANNELS}`]);
			const settled: string[] = [];
			const outcomes = await Promise.allSettled(
				groups(claimed, 2).map(async ([channel, claim]) => {
					const [nextMs, ...members] = await this.#run(REAP, channel!);
					settled.push(channel!, claim!, nextMs!);
					for (const member of readMembers(members)) left.push({ channel: channel!, member });
				})
			);
			const failed = outcomes.find(({ status }) => status === 'rejected');
			// Removed members have to be reported; the other channels come up again.
			if (failed && left.length === 0) throw (failed as PromiseRejectedResult).reason;
			if (settled.length > 0) {
				await this.#commands.run(SETTLE_DUE, index, settled).catch(() => {});
			}
			if (failed) break;
		} while (claimed.length === 2 * MAX_CHANNELS && performance.now() < endMs);
		return left;
	}

	listen(channel: string, listener: PresenceListener): () => void {
		return this.#options.bus.hear(this.#keys.presence(channel).channel, {
			text(text) {
				const changes = readChanges(text);
				if (changes) listener.changes(changes);
				else listener.check();
			},
			live: () => listener.check(),
			lost: () => {}
		});
	}

	async #index(
		owner: string,
		leaseMs: number,
		channels: readonly string[],
		gone: readonly string[] = []
	): Promise<void> {
		const args = [lifetime(leaseMs), `${channels.length}`, ...channels, ...gone];
		await this.#commands.run(INDEX_LEASES, this.#keys.presenceIndex(owner), args);
	}

	#run(script: Script, channel: string, ...args: string[]): Promise<string[]> {
		const { all, channel: announced } = this.#keys.presence(channel);
		return this.#commands.run(script, all, [this.#options.publish, announced, ...args]);
	}
}

/** Groups of texts that belong together. */
function groups(texts: readonly string[], size: number): string[][] {
	return Array.from({ length: texts.length / size }, (_, index) =>
		texts.slice(index * size, (index + 1) * size)
	);
}

/** Five texts for each member, oldest first. */
function readMembers(texts: readonly string[]): PresenceMember[] {
	return groups(texts, 5)
		.sort((a, b) => Number(a[3]) - Number(b[3]))
		.map(readMember);
}

function readMember([
	id,
	data,
	streams,
	joinedAtMicros,
	version
]: readonly string[]): PresenceMember {
	return {
		id: id!,
		data: data!,
		streams: Number(streams),
		joinedAt: Math.floor(Number(joinedAtMicros) / 1000),
		version: Number(version)
	};
}

/** @returns `undefined` for an announcement that only says that there is something to read. */
function readChanges(text: string): PresenceChange[] | undefined {
	try {
		return (JSON.parse(text) as [PresenceChange['type'], ...string[]][]).map(
			([type, ...member]) => ({ type, member: readMember(member) })
		);
	} catch {
		return undefined;
	}
}
