import type { PresencePayload, PresenceRequest, RealtimeMember } from '../protocol/presence.js';

type Data = Record<string, unknown>;

/** What a component said about its own member with `update`. */
export interface TestPresenceUpdate<TData = Data> {
	/** After JSON. */
	data: Partial<TData>;
	ttlMs?: number;
}

/** A member in a test. Fields that are left out get a suitable value. */
export type TestMember<TData = Data> = Pick<RealtimeMember<TData>, 'id' | 'data'> &
	Partial<Pick<RealtimeMember<TData>, 'streams' | 'joinedAt'>>;

/**
 * The members of a channel of a test bus. It plays the server: it keeps the members and handles their
 * updates.
 */
export class TestPresence<TData = Data> {
	readonly #tell: (payload: PresencePayload) => void;
	readonly #channel: string;
	readonly #members = new Map<string, RealtimeMember<TData>>();
	readonly #updates: TestPresenceUpdate<TData>[] = [];
	/** Fields of the component's own member that change back by themselves. */
	readonly #expiring = new Map<string, ReturnType<typeof setTimeout>>();
	#self: string | undefined;
	/** What the test said about the component's own member. */
	#base: Data = {};
	#joined = 0;

	/** @internal */
	constructor(channel: string, tell: (payload: PresencePayload) => void) {
		this.#channel = channel;
		this.#tell = tell;
	}

	/** The members, oldest first. */
	get members(): readonly RealtimeMember<TData>[] {
		return [...this.#members.values()].sort((a, b) => a.joinedAt - b.joinedAt);
	}

	/** What the component sent with `update()`, in order. */
	get updates(): readonly TestPresenceUpdate<TData>[] {
		return this.#updates;
	}

	/**
	 * Sets the members, as the first event of a stream does.
	 *
	 * @param options.self Id of the component's own member; without it, the component only reads.
	 */
	set(members: readonly TestMember<TData>[], { self }: { self?: string } = {}): void {
		this.#forget();
		this.#members.clear();
		for (const member of members) this.#add(member);
		this.#self = self;
		this.#base = { ...((this.#members.get(self ?? '')?.data ?? {}) as Data) };
		this.sync();
	}

	/** A member joins. */
	join(member: TestMember<TData>): void {
		this.#say({ type: 'join', members: [this.#add(member)] });
	}

	/** A member leaves. */
	leave(id: string): void {
		this.#members.delete(id);
		this.#say({ type: 'leave', ids: [id] });
	}

	/** Changes some data of a member, as its own page would. Does nothing for somebody who is not a member. */
	update(id: string, data: Partial<TData>): void {
		const member = this.#members.get(id);
		if (member) this.#put({ ...member, data: { ...member.data, ...data } });
	}

	/** @internal Sends the members again. */
	sync(): void {
		this.#say({
			type: 'sync',
			stream: this.#channel,
			members: this.members,
			...(this.#self !== undefined && { self: this.#self })
		});
	}

	/** @internal Handles an update of the component. */
	take({ data, ttlMs, sync, reset }: PresenceRequest): void {
		if (sync) this.sync();
		if (!data) return;
		this.#updates.push({ data: data as Partial<TData>, ...(ttlMs !== undefined && { ttlMs }) });
		const own = this.#members.get(this.#self ?? '');
		if (!own) return;
		this.#put({ ...own, data: { ...(reset ? this.#base : own.data), ...data } as TData });
		for (const field of Object.keys(data)) {
			clearTimeout(this.#expiring.get(field));
			if (ttlMs === undefined) continue;
			this.#expiring.set(
				field,
				setTimeout(() => this.#revert(field), ttlMs)
			);
		}
	}

	#add({
		id,
		data,
		streams = 1,
		joinedAt = ++this.#joined
	}: TestMember<TData>): RealtimeMember<TData> {
		const member = { id, data, streams, joinedAt };
		this.#members.set(id, member);
		return member;
	}

	#put(member: RealtimeMember<TData>): void {
		this.#members.set(member.id, member);
		this.#say({ type: 'update', members: [{ id: member.id, data: member.data }] });
	}

	#revert(field: string): void {
		const own = this.#members.get(this.#self ?? '');
		if (!own) return;
		const data = { ...own.data } as Data;
		if (Object.hasOwn(this.#base, field)) data[field] = this.#base[field];
		else delete data[field];
		this.#put({ ...own, data: data as TData });
	}

	#forget(): void {
		for (const timer of this.#expiring.values()) clearTimeout(timer);
		this.#expiring.clear();
	}

	#say(payload: DistributiveOmit<PresencePayload, 'channel'>): void {
		// The page gets data after JSON, which shares nothing with the test.
		const text = JSON.stringify({ channel: this.#channel, ...payload });
		this.#tell(JSON.parse(text) as PresencePayload);
	}
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;
