import type {
	PresenceChange,
	PresenceListener,
	PresenceMember,
	PresenceStore
} from '../backend/presence.js';
import { Failure } from '../failure/failure.js';
import { detached } from '../runtime/context.js';
import { afterInput, unref } from '../runtime/runtime.js';
import { changeFrames, SyncFrame } from './frames.js';
import { Holding } from './holding.js';

/** Milliseconds between two frames that the readers of a channel get, at least. */
const FRAME_MS = 50;

/** Milliseconds after which what the store did not answer is tried again. */
const RETRY_MS = 500;

/** Milliseconds that others may take to say again who they are, where the store may have forgotten them. */
const REJOIN_MS = 2_500;

/** Who a reader is to the others. */
export interface PresenceSelf {
	id: string;
	/** What the server says about it. */
	data: Record<string, unknown>;
}

/** Version of a member that the store has not confirmed. */
const LOCAL = 0;

/** Somebody who is told who is in a channel. */
export interface RoomReader {
	/** What each `sync` of this reader begins with. */
	readonly head: Record<string, unknown>;
	/** Whether it has taken what it was given. */
	readonly hasRoom: boolean;
	/** Resolves when it may have room again, or is gone. */
	whenRoom(): Promise<void>;
	/** Writes changes. */
	push(chunk: Uint8Array): void;
	/** Writes a `sync`, however large it is. */
	pushSync(chunks: readonly Uint8Array[]): void;
	/** It may not be a member. */
	refuse(failure: Failure): void;
}

/** Data of a member. */
export interface MemberState {
	data: Record<string, unknown>;
	/** What the server said of it. */
	base: Record<string, unknown>;
}

/** What becomes of a member's data. */
export interface MemberChange {
	data: Record<string, unknown>;
	/** Those that the page named. */
	fields: readonly string[];
	/** Milliseconds after which these go back. */
	ttlMs: number | undefined;
}

/** What a room is made with. */
export interface RoomOptions {
	/** Name of the channel in the store. */
	key: string;
	channel: string;
	/** Names this process in the store. */
	owner(): string;
	store: PresenceStore;
	/** Hears of the changes of the channel. @returns a function that ends it. */
	listen(listener: PresenceListener): () => void;
	/** How long, in milliseconds, a lease lasts. */
	leaseMs: number;
	maxMembers: number | undefined;
	joined(member: PresenceMember): void;
	left(member: PresenceMember): void;
	/** The channel is full: `member` is who came too late. */
	full(member: PresenceSelf): void;
	/** Leases of other processes ran out. */
	due(): void;
	/** Nobody uses it any more. */
	idle(room: Room): void;
}

/**
 * One channel of one process: knows its members in all processes, tells its readers of them, and tells
 * the store of the members that read here. While the store is away, it knows the members of this process.
 */
export class Room implements PresenceListener {
	readonly key: string;
	readonly #options: RoomOptions;
	readonly #holdings = new Map<string, Holding>();
	readonly #members = new Map<string, PresenceMember>();
	/** The members as the readers were told of them. */
	readonly #shown = new Map<string, PresenceMember>();
	/** Ids whose member may differ from what was shown. */
	readonly #dirty = new Set<string>();
	/** Readers by how far they are: `waiting` for a `sync`, `busy` with what came before, `told` of everybody. */
	readonly #readers = new Map<RoomReader, 'entering' | 'waiting' | 'busy' | 'told'>();
	/** Holdings with data that the store has not been told. */
	readonly #pending = new Set<Holding>();
	readonly #stopListening: () => void;
	#timer: ReturnType<typeof setTimeout> | undefined;
	#retry: ReturnType<typeof setTimeout> | undefined;
	#isFlushing = false;
	#nextFlushMs = 0;
	#isLocal: boolean;
	#isPushing = false;
	#isClosed = false;
	/** The members are left to other processes: the store is told of no change any more. */
	#isHandedOver = false;
	/** The members could not be read. */
	#isStale = false;
	/** Ends when the members have been read. */
	#loading: Promise<void> | undefined;
	/** Changes that came while the members were being read. */
	#early: PresenceChange[] | undefined;
	#loadAgain = false;

	constructor(options: RoomOptions, isLocal: boolean) {
		this.key = options.key;
		this.#options = options;
		this.#isLocal = isLocal;
		this.#stopListening = detached(() => options.listen(this));
		if (!isLocal) this.#load();
	}

	/** Members that this process holds in the store. */
	get held(): number {
		let held = 0;
		for (const { stored } of this.#holdings.values()) if (stored) held++;
		return held;
	}

	/** Whether the store is known to have what this process holds. */
	get isSettled(): boolean {
		return [...this.#holdings.values()].every(({ stored, step }) => stored !== null && !step);
	}

	/** The members as this process knows them. */
	get members(): PresenceMember[] {
		return [...this.#members.values()];
	}

	has(id: string): boolean {
		return this.#members.has(id);
	}

	/** Adds a reader, and its member, if it is one. It is told of everybody once it is in. */
	async enter(reader: RoomReader, self: PresenceSelf | null): Promise<void> {
		this.#readers.set(reader, 'entering');
		if (self) {
			const holding = this.#hold(self);
			holding.streams++;
			holding.comeBack();
			await this.#settle(holding);
			if (holding.isFull && this.#readers.has(reader)) {
				this.#options.full(self);
				reader.refuse(this.fullFailure());
				return;
			}
		}
		await this.#loading;
		this.sync(reader);
	}

	/**
	 * A reader is gone.
	 *
	 * @param graceMs How long, in milliseconds, its member may take to come back.
	 */
	leave(reader: RoomReader, self: PresenceSelf | null, graceMs: number): void {
		if (!this.#readers.delete(reader)) return;
		const holding = self && this.#holdings.get(self.id);
		if (holding) {
			holding.streams--;
			if (holding.streams === 0 && graceMs > 0 && !holding.isFull) {
				holding.linger(graceMs, () => void this.#settle(holding));
			}
			void this.#settle(holding);
		} else this.#endIfIdle();
	}

	/** Tells a reader of everybody again. */
	sync(reader: RoomReader): void {
		const state = this.#readers.get(reader);
		if (state === undefined || state === 'busy') return;
		this.#readers.set(reader, 'waiting');
		this.#flushSoon();
	}

	/** The failure of whoever comes when the channel is full. */
	fullFailure(): Failure {
		return fullFailure(this.#options.channel, this.#options.maxMembers);
	}

	/**
	 * Gives a member other data, one change after the other: each begins with what the one before left.
	 *
	 * @param make Is given nothing for somebody who is no member here.
	 * @throws what `make` throws.
	 */
	async change(
		id: string,
		make: (current: MemberState | undefined) => Promise<MemberChange>
	): Promise<void> {
		const holding = this.#holdings.get(id);
		const before = holding?.changing;
		const current = (): MemberState | undefined =>
			holding && { data: holding.dataOf(this.#members.get(id)), base: holding.base };
		const change = (async () => {
			await before;
			const { data, fields, ttlMs } = await make(current());
			if (!holding || holding.wanted === 0) return;
			holding.expire(fields, data, ttlMs, (fields) => this.#revert(holding, fields));
			this.#setData(holding, data);
		})();
		if (holding) holding.changing = change.catch(() => {});
		await change;
	}

	changes(changes: readonly PresenceChange[]): void {
		if (this.#isLocal || this.#isClosed) return;
		if (this.#early) this.#early.push(...changes);
		else for (const change of changes) this.#apply(change);
	}

	check(isForgotten = false): void {
		if (this.#isClosed) return;
		if (isForgotten) this.restore(REJOIN_MS);
		else if (!this.#isLocal) this.#load();
	}

	due(): void {
		this.#options.due();
	}

	/** The store is away: this process goes on by itself. */
	goLocal(): void {
		if (this.#isLocal) return;
		this.#isLocal = true;
		for (const id of [...this.#members.keys()]) {
			if (!this.#holdings.get(id)?.wanted) this.#show(id, undefined);
		}
		for (const holding of this.#holdings.values()) void this.#settle(holding);
	}

	/**
	 * The store is back, or what it has of this process is not what it should be: tells it everything again.
	 *
	 * @param othersMs How long, in milliseconds, the others may take to do the same before the members are read.
	 */
	restore(othersMs = 0): void {
		this.#isLocal = false;
		for (const holding of this.#holdings.values()) {
			holding.stored = null;
			holding.isKept = holding.isTold;
		}
		const settled = this.settle();
		this.#load(othersMs > 0 ? settled.then(() => this.#wait(othersMs)) : settled);
	}

	/** Tries again what the store has not taken yet. */
	async settle(): Promise<void> {
		if (this.#isStale && !this.#isLocal) this.#load();
		await Promise.all([...this.#holdings.values()].map((holding) => this.#settle(holding)));
		await this.#push();
	}

	/** Leaves the members to other processes. Fields that were to go back do so now: nobody will do it later. */
	async handOver(): Promise<void> {
		this.#isHandedOver = true;
		for (const holding of this.#holdings.values()) this.#revert(holding, holding.takeExpiring());
		await this.#push();
	}

	/** Ends everything, and leaves what is in the store to its leases. */
	close(): void {
		this.#isClosed = true;
		this.#stopListening();
		clearTimeout(this.#timer);
		clearTimeout(this.#retry);
		for (const holding of this.#holdings.values()) holding.close();
	}

	#hold({ id, data }: PresenceSelf): Holding {
		let holding = this.#holdings.get(id);
		if (!holding) this.#holdings.set(id, (holding = new Holding(id, data)));
		return holding;
	}

	/** Brings the store in line with a holding; resolves when it is, or when it cannot be now. */
	async #settle(holding: Holding): Promise<void> {
		let isAway = false;
		while (!this.#isSettled(holding) && !this.#isLocal && !isAway) {
			try {
				holding.step ??= this.#step(holding).finally(() => (holding.step = undefined));
				await holding.step;
			} catch {
				isAway = true;
			}
		}
		if (this.#isLocal) this.#settleLocally(holding);
		else if (isAway) {
			// Others may hold it, too: only who is not shown at all is shown without the store.
			if (holding.wanted > 0 && !this.#members.has(holding.id)) this.#settleLocally(holding);
			this.#retrySoon();
		}
		const isOver = holding.streams === 0 && holding.wanted === 0 && holding.stored === 0;
		if (isOver && this.#holdings.get(holding.id) === holding) {
			this.#holdings.delete(holding.id);
			this.#pending.delete(holding);
			holding.close();
		}
		this.#endIfIdle();
	}

	#isSettled({ stored, wanted }: Holding): boolean {
		return stored === wanted || this.#isClosed || this.#isHandedOver;
	}

	/** @throws what the store failed with; it may have done what it was asked, or may do so yet. */
	async #step(holding: Holding): Promise<void> {
		const { id, wanted } = holding;
		const known = this.#members.get(id);
		try {
			await (wanted === 0 ? this.#leave(holding) : this.#join(holding, wanted));
		} catch (error) {
			holding.stored = null;
			if (wanted === 0) holding.left ??= known;
			else if (!known) holding.mayHaveJoined = true;
			throw error;
		}
	}

	async #leave(holding: Holding): Promise<void> {
		const { store, key, owner } = this.#options;
		const { id } = holding;
		let gone = await store.leave(key, owner(), id);
		const shown = this.#members.get(id);
		if (shown?.version === LOCAL) {
			// The store did not take its join.
			this.#show(id, undefined);
			gone ??= shown;
		} else if (!shown) gone ??= holding.left ?? null;
		if (gone) {
			if (holding.mayHaveJoined && !holding.isTold) this.#options.joined(gone);
			if (holding.mayHaveJoined || holding.isTold) this.#options.left(gone);
		}
		holding.stored = 0;
		holding.left = undefined;
		holding.untold = undefined;
		holding.isTold = holding.isAdmitted = holding.mayHaveJoined = false;
	}

	async #join(holding: Holding, streams: number): Promise<void> {
		const { store, key, owner, leaseMs, maxMembers } = this.#options;
		const { id } = holding;
		const known = this.#members.get(id);
		const data = JSON.stringify(holding.dataOf(known));
		const joinedAt = holding.isKept ? known?.joinedAt : undefined;
		const limits = { leaseMs, maxMembers: holding.isAdmitted ? undefined : maxMembers };
		holding.goneVersion = -1;
		const joined = await store.join(
			key,
			owner(),
			{ id, data, streams, ...(joinedAt !== undefined && { joinedAt }) },
			limits
		);
		holding.isFull = joined.isFull;
		if (joined.isFull) {
			holding.stored = 0;
			return;
		}
		const { member, isNew } = joined;
		// It was taken out meanwhile: this process had not renewed its lease.
		holding.stored = member.version > holding.goneVersion ? streams : null;
		holding.left = undefined;
		this.changes([{ type: 'join', member }]);
		const isOwn = holding.mayHaveJoined && !holding.isTold && member.streams === streams;
		if (isOwn || (isNew && !holding.isKept)) this.#options.joined(member);
		else if (isNew) holding.untold = member;
		holding.isTold = holding.isAdmitted = true;
		holding.isKept = holding.mayHaveJoined = false;
	}

	#wait(ms: number): Promise<void> {
		return new Promise((resolve) => {
			detached(() => unref(setTimeout(resolve, ms)));
		});
	}

	#retrySoon(): void {
		if (this.#isClosed) return;
		this.#retry ??= detached(() =>
			unref(
				setTimeout(() => {
					this.#retry = undefined;
					if (!this.#isLocal) void this.settle();
				}, RETRY_MS)
			)
		);
	}

	/** Shows a holding without the store. */
	#settleLocally(holding: Holding): void {
		const { id, wanted: streams } = holding;
		const known = this.#members.get(id);
		if (streams === 0) {
			if (!known) return;
			this.#show(id, undefined);
			if (holding.isTold) this.#options.left(known);
			holding.isTold = false;
			return;
		}
		if (known?.streams === streams) return;
		const { maxMembers = Infinity } = this.#options;
		if (!known && this.#members.size >= maxMembers) {
			holding.isFull = true;
			return;
		}
		const { joinedAt = Date.now(), version = LOCAL } = known ?? {};
		const data = JSON.stringify(holding.dataOf(known));
		this.#show(id, { id, data, streams, joinedAt, version });
		if (!known && !holding.isTold) this.#options.joined(this.#members.get(id)!);
		holding.isTold = holding.isKept = holding.isAdmitted = true;
	}

	#apply({ type, member }: PresenceChange): void {
		const { id, version } = member;
		const known = this.#members.get(id);
		const holding = this.#holdings.get(id);
		if (type === 'leave' && holding?.untold) {
			// Somebody was told that it left, before it was a member again.
			this.#options.joined(holding.untold);
			holding.untold = undefined;
		}
		if (known && known.version >= version) return;
		if (type !== 'leave') return this.#show(id, member);
		this.#show(id, undefined);
		if (!holding || holding.wanted === 0) return;
		// Its lease ran out although it is here: this process was too busy to renew it.
		holding.goneVersion = version;
		holding.stored = null;
		holding.isTold = holding.isKept = false;
		void this.#settle(holding);
	}

	#show(id: string, member: PresenceMember | undefined): void {
		if (member) this.#members.set(id, member);
		else this.#members.delete(id);
		this.#dirty.add(id);
		this.#flushSoon();
	}

	/** Reads the members. Changes that come meanwhile are applied after it, unless they are older. */
	#load(after: Promise<void> = Promise.resolve()): void {
		if (this.#early) {
			this.#loadAgain = true;
			return;
		}
		this.#early = [];
		this.#loading = (async () => {
			try {
				await after;
				do {
					this.#loadAgain = false;
					this.#replace(await this.#options.store.members(this.key));
				} while (this.#loadAgain);
				this.#isStale = false;
			} catch {
				this.#isStale = true;
				this.#retrySoon();
			}
			const early = this.#early ?? [];
			this.#early = undefined;
			if (!this.#isLocal) for (const change of early) this.#apply(change);
		})();
	}

	#replace(members: readonly PresenceMember[]): void {
		if (this.#isLocal || this.#isClosed) return;
		const gone = new Set(this.#members.keys());
		for (const member of members) {
			gone.delete(member.id);
			this.#show(member.id, member);
		}
		for (const id of gone) this.#show(id, undefined);
	}

	/** Fields go back to what the server began with. */
	#revert(holding: Holding, fields: readonly string[]): void {
		if (fields.length === 0) return;
		const data = { ...holding.dataOf(this.#members.get(holding.id)) };
		for (const field of fields) {
			if (Object.hasOwn(holding.base, field)) data[field] = holding.base[field];
			else delete data[field];
		}
		this.#setData(holding, data);
	}

	#setData(holding: Holding, data: Record<string, unknown>): void {
		holding.pending = data;
		this.#pending.add(holding);
		if (this.#isLocal) this.#showPending();
		else void this.#push();
	}

	/** Tells the store of new data: what comes while it is being told goes together. */
	async #push(): Promise<void> {
		if (this.#isPushing) return;
		this.#isPushing = true;
		while (this.#pending.size > 0 && !this.#isLocal) {
			const batch = [...this.#pending].map((holding) => ({ holding, data: holding.pending }));
			this.#pending.clear();
			const changes = batch.map(({ holding: { id }, data }) => ({
				id,
				data: JSON.stringify(data)
			}));
			try {
				await this.#options.store.update(this.key, changes);
			} catch {
				for (const { holding } of batch) {
					if (this.#holdings.get(holding.id) === holding) this.#pending.add(holding);
				}
				this.#showPending();
				this.#retrySoon();
				break;
			}
			for (const { holding, data } of batch) {
				if (holding.pending === data) holding.pending = undefined;
			}
		}
		this.#isPushing = false;
	}

	/** Shows data that the store has not taken yet. */
	#showPending(): void {
		for (const { id, pending } of this.#pending) {
			const known = this.#members.get(id);
			if (known) this.#show(id, { ...known, data: JSON.stringify(pending) });
		}
	}

	#flushSoon(): void {
		if (this.#isFlushing || this.#isClosed) return;
		this.#isFlushing = true;
		const waitMs = this.#nextFlushMs - performance.now();
		const flush = (): void => this.#flush();
		detached(() => {
			if (waitMs > 0) this.#timer = unref(setTimeout(flush, waitMs));
			else afterInput(flush);
		});
	}

	#flush(): void {
		this.#isFlushing = false;
		if (this.#isClosed) return;
		const frames = this.#takeChanges();
		// However many frames a burst makes, their number per second stays.
		this.#nextFlushMs = performance.now() + FRAME_MS * Math.max(1, frames.length);
		let sync: SyncFrame | undefined;
		for (const [reader, state] of [...this.#readers]) {
			if (state === 'told') for (const chunk of frames) reader.push(chunk);
			else if (state === 'waiting') {
				if (!reader.hasRoom) {
					this.#syncLater(reader);
					continue;
				}
				this.#readers.set(reader, 'told');
				sync ??= new SyncFrame(this.#shown.values());
				reader.pushSync(sync.partsFor({ channel: this.#options.channel, ...reader.head }));
			}
		}
	}

	/** However often a reader asks, and however slow it is, one `sync` waits for it at most. */
	#syncLater(reader: RoomReader): void {
		this.#readers.set(reader, 'busy');
		void reader.whenRoom().then(() => {
			if (!this.#readers.has(reader)) return;
			this.#readers.set(reader, 'waiting');
			this.#flushSoon();
		});
	}

	#takeChanges(): Uint8Array[] {
		const changes = [...this.#dirty].map((id) => ({
			id,
			was: this.#shown.get(id),
			is: this.#members.get(id)
		}));
		this.#dirty.clear();
		for (const { id, is } of changes) {
			if (is) this.#shown.set(id, is);
			else this.#shown.delete(id);
		}
		return changeFrames(this.#options.channel, changes);
	}

	#endIfIdle(): void {
		if (this.#isClosed || this.#readers.size > 0 || this.#holdings.size > 0) return;
		this.close();
		this.#options.idle(this);
	}
}

/** The failure of whoever comes when a channel is full. */
export function fullFailure(channel: string, maxMembers: number | undefined): Failure {
	return new Failure(
		'admission',
		409,
		`Channel ${JSON.stringify(channel)} has ${maxMembers} members, as many as it may have.`
	);
}
