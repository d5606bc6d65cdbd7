import { RealtimeError } from '../protocol/errors.js';
import type {
	PresenceChange,
	PresenceHolding,
	PresenceJoined,
	PresenceListener,
	PresenceMember,
	PresenceStore
} from '../server/backend/presence.js';
import type { Line } from './line.js';
import { busChannel } from './schema.js';
import type { PostgresReplayStore } from './replay.js';
import type { Statements } from './statements.js';
import { escapeText, hash, unescapeText } from './text.js';
import { lifetime } from './time.js';

/** Prefix of announcements of changes. */
const NOTICE = /^presence (\S+) /;

/** Most leases that one statement removes. */
const MAX_REAPED = 1_000;

/** A member as the functions return it. */
type Stored = [id: string, data: string, streams: number, joinedAt: number, version: number];

/** Members in Postgres. Every call is one statement; changes are announced on the channel of the bus. */
export class PostgresPresence implements PresenceStore {
	readonly #statements: Statements;
	readonly #store: Pick<PostgresReplayStore, 'startPruning'>;
	readonly #line: Line | undefined;
	readonly #pollMs: number | false;
	readonly #listeners = new Map<string, Set<{ listener: PresenceListener }>>();
	#stopLine: (() => void) | undefined;
	#polling: ReturnType<typeof setInterval> | undefined;

	/**
	 * @param options.store Deletes expired rows. @param options.line Where changes are announced; without it,
	 *   members are read every `pollMs`.
	 */
	constructor(
		statements: Statements,
		options: {
			store: Pick<PostgresReplayStore, 'startPruning'>;
			line: Line | undefined;
			pollMs: number | false;
		}
	) {
		this.#statements = statements;
		this.#store = options.store;
		this.#line = options.line;
		this.#pollMs = options.pollMs;
	}

	async join(
		channel: string,
		owner: string,
		{ id, data, streams }: PresenceHolding,
		{ leaseMs, maxMembers = Infinity }: { leaseMs: number; maxMembers?: number | undefined }
	): Promise<PresenceJoined> {
		this.#store.startPruning();
		const [row] = await this.#call('presence_join', {
			channel: hash(channel),
			name: escapeText(channel),
			owner: hash(owner),
			id: hash(id),
			idText: escapeText(id),
			data: escapeText(data),
			streams,
			leaseMs: lifetime(leaseMs),
			maxMembers: Number.isFinite(maxMembers) ? maxMembers : null,
			deadline: this.#statements.deadline()
		});
		const [, , status, clock, member] = row!;
		this.#statements.setClock(Number(clock));
		if (status === 'late') {
			throw new RealtimeError('BACKEND', 'Postgres handled the call too late and nobody joined.');
		}
		if (status === 'full') return { isFull: true };
		return { isFull: false, isNew: status === 'new', member: parseMember(member!) };
	}

	async update(channel: string, changes: readonly { id: string; data: string }[]): Promise<void> {
		await this.#call('presence_update', {
			channel: hash(channel),
			changes: changes.map(({ id, data }) => [hash(id), escapeText(data)])
		});
	}

	async leave(channel: string, owner: string, id: string): Promise<PresenceMember | null> {
		const request = { channel: hash(channel), owner: hash(owner), id: hash(id) };
		const [row] = await this.#call('presence_leave', request);
		return row ? parseMember(row[4]!) : null;
	}

	async members(channel: string): Promise<PresenceMember[]> {
		const rows = await this.#call('presence_members', { channel: hash(channel) });
		return rows.map((row) => parseMember(row[4]!));
	}

	async renew(owner: string, leaseMs: number): Promise<number> {
		const request = { owner: hash(owner), leaseMs: lifetime(leaseMs) };
		const [row] = await this.#call('presence_renew', request);
		return Number(row![1]);
	}

	/** Leases that one call does not get to are left to the next. */
	async reap(): Promise<{ channel: string; member: PresenceMember }[]> {
		const rows = await this.#call('presence_reap', { limit: MAX_REAPED });
		return rows.map(([, , , channel, member]) => ({
			channel: unescapeText(channel!),
			member: parseMember(member!)
		}));
	}

	listen(channel: string, listener: PresenceListener): () => void {
		const id = hash(channel);
		const listeners = this.#listeners.get(id) ?? new Set();
		// The same listener may be here twice.
		const own = { listener };
		this.#listeners.set(id, listeners.add(own));
		this.#start();
		return () => {
			listeners.delete(own);
			if (listeners.size === 0 && this.#listeners.get(id) === listeners) this.#listeners.delete(id);
			if (this.#listeners.size === 0) this.#stop();
		};
	}

	close(): void {
		this.#listeners.clear();
		this.#stop();
	}

	#start(): void {
		if (this.#stopLine) return;
		if (!this.#line) {
			this.#stopLine = () => {};
			this.#poll();
			return;
		}
		this.#stopLine = this.#line.listen(busChannel(this.#statements.schema), {
			notify: (payload) => this.#hear(payload),
			live: () => {
				clearInterval(this.#polling);
				this.#polling = undefined;
				this.#check();
			},
			lost: () => this.#poll(),
			failed: () => this.#poll()
		});
	}

	#stop(): void {
		clearInterval(this.#polling);
		this.#polling = undefined;
		this.#stopLine?.();
		this.#stopLine = undefined;
	}

	/** Has the members read now and then, as long as there are no announcements. */
	#poll(): void {
		if (this.#pollMs === false) return;
		this.#polling ??= setInterval(() => this.#check(), this.#pollMs).unref();
	}

	#check(): void {
		for (const listeners of [...this.#listeners.values()]) {
			for (const { listener } of [...listeners]) listener.check();
		}
	}

	#hear(payload: string): void {
		const notice = NOTICE.exec(payload);
		const listeners = notice && this.#listeners.get(notice[1]!);
		if (!listeners) return;
		const changes = readChanges(payload.slice(notice[0].length));
		for (const { listener } of [...listeners]) {
			if (changes) listener.changes(changes);
			else listener.check();
		}
	}

	#call(name: string, request: object): ReturnType<Statements['call']> {
		return this.#statements.call(name, { waitMs: this.#statements.waitMs, ...request });
	}
}

function readMember([id, data, streams, joinedAt, version]: Stored): PresenceMember {
	return { id: unescapeText(id), data: unescapeText(data), streams, joinedAt, version };
}

function parseMember(json: string): PresenceMember {
	return readMember(JSON.parse(json) as Stored);
}

/** @returns `undefined` for an announcement that only says that there is something to read. */
function readChanges(json: string): PresenceChange[] | undefined {
	try {
		return (JSON.parse(json) as [PresenceChange['type'], ...Stored][]).map(([type, ...member]) => ({
			type,
			member: readMember(member)
		}));
	} catch {
		return undefined;
	}
}
