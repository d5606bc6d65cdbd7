import { createHash } from 'node:crypto';

/** Keys of a log. All of them have one hash tag, so that Redis Cluster keeps them on one server. */
export interface LogKeys {
	/** Epoch and last sequence, events, and keys of events. */
	readonly all: readonly [meta: string, log: string, keys: string];
	/** Channel on which its events are announced. */
	readonly channel: string;
	/** Key that remembers an event for longer than the log does. */
	remember(key: string): string;
}

/** Keys of the members of a channel, all with one hash tag. */
export interface PresenceKeys {
	/** Members, when their leases end, streams of each lease, and leases in the order of their owners. */
	readonly all: readonly [members: string, leases: string, streams: string, owners: string];
	/** Channel on which changes are announced. */
	readonly channel: string;
}

/** Most logs whose names are remembered; computing one again costs a hash. */
const MAX_REMEMBERED = 10_000;

/** Longer keys of events are replaced with their hash. */
const MAX_KEY_LENGTH = 64;

/**
 * The names of all keys and channels of one app in Redis. A log is named by a hash, because its own name may
 * contain braces.
 */
export class Keys {
	readonly #prefix: string;
	readonly #channelPrefix: string;
	readonly #logs = new Map<string, LogKeys>();

	/**
	 * @param database Pub/sub is shared by all databases of a server, so channels contain the number of theirs.
	 */
	constructor(prefix: string, database: number) {
		this.#prefix = prefix;
		this.#channelPrefix = `${prefix}:${database}`;
	}

	log(log: string): LogKeys {
		let keys = this.#logs.get(log);
		if (!keys) {
			if (this.#logs.size >= MAX_REMEMBERED) this.#logs.clear();
			const tag = `{${hash(log)}}`;
			const name = `${this.#prefix}:${tag}`;
			keys = {
				all: [`${name}:meta`, `${name}:log`, `${name}:keys`],
				channel: `${this.#channelPrefix}:${tag}`,
				remember: (key) => `${name}:key:${hash(key)}`
			};
			this.#logs.set(log, keys);
		}
		return keys;
	}

	/** Keys of a channel's members. */
	presence(channel: string): PresenceKeys {
		const tag = `{${hash(channel)}}`;
		const name = `${this.#prefix}:${tag}`;
		return {
			all: [`${name}:members`, `${name}:leases`, `${name}:streams`, `${name}:owners`],
			channel: `${this.#channelPrefix}:${tag}:presence`
		};
	}

	/**
	 * Two indexes of all leases: when to check each channel next, and the channels in which an owner has leases.
	 * They have their own hash tag.
	 */
	presenceIndex(owner: string): readonly [due: string, owned: string] {
		const name = `${this.#prefix}:{presence}`;
		return [`${name}:due`, `${name}:owner:${hash(owner)}`];
	}

	/** Key of a token bucket. */
	rate(key: string): string {
		return `${this.#prefix}:{${hash(key)}}:rate`;
	}

	/** Key of the record of an id that runs once. */
	run(id: string): string {
		return `${this.#prefix}:{${hash(id)}}:run`;
	}

	/** A channel only for this process. */
	own(id: string): string {
		return `${this.#channelPrefix}:line:${id}`;
	}
}

/** @returns the key of an event as it is stored in Redis. */
export function eventKey(key: string): string {
	return key.length > MAX_KEY_LENGTH ? hash(key) : key;
}

/** @returns 22 characters that stand for a text of any length. */
export function hash(text: string): string {
	return createHash('sha256').update(text).digest('base64url').slice(0, 22);
}
