import type { RequestEvent } from '@sveltejs/kit';
import type { PresenceRequest, RealtimeMember } from '../../protocol/presence.js';
import { presenceSchema } from '../../protocol/presence.js';
import type { RealtimeRequestParams } from '../../protocol/request.js';
import type { PresenceStore } from '../backend/presence.js';
import { callApp, type CallbackError, type RealtimeCallback } from '../failure/callback.js';
import { Failure, TEXT } from '../failure/failure.js';
import type { Report } from '../failure/report.js';
import { detached } from '../runtime/context.js';
import { inTime } from '../runtime/deadline.js';
import {
	DEFAULT_GRACE_MS,
	type RealtimePresenceContext,
	type RealtimePresenceOptions
} from './options.js';
import {
	fullFailure,
	type MemberState,
	type PresenceSelf,
	type Room,
	type RoomReader
} from './room.js';
import {
	fromSelf,
	fromStored,
	keyOf,
	Rooms,
	type PresenceChannel,
	type PresenceHook
} from './rooms.js';

/** Milliseconds between two signs of life that a page sends. */
const BEAT_MS = 30_000;

/** A member whose page has sent no sign of life for as long, in milliseconds, leaves. */
const SILENT_MS = 90_000;

/** Most bytes of a member's data as JSON. */
const MAX_DATA_BYTES = 16 * 1024;

/** Streams of other processes whose cost is remembered. */
const MAX_COSTS = 10_000;

/** A stream that is told who is there. */
export interface PresenceStream extends Omit<RoomReader, 'head'> {
	/** Names the stream. */
	readonly name: string;
	/** Ends the whole stream: its line is dead. */
	lost(): void;
	/** Runs work in the request of the stream: timers of other requests end with those. */
	run(work: () => void): void;
}

/** A stream's part in presence. */
export interface Attendance {
	/** @param atOnce Whether its member leaves without time to come back. */
	end(atOnce: boolean): void;
}

/** What presence is made with. */
export interface PresenceOptions {
	store: PresenceStore;
	/** Names this process in the store. */
	owner: string;
	/** Whether the store is away now. */
	isAway(): boolean;
	/** Whether other processes share the store. */
	isShared: boolean;
	/** Whether each stream has its own rooms, because its requests and timers end with it. */
	isPerStream: boolean;
	heartbeatMs: number;
	callbackTimeoutMs: number;
	report: Report;
	/** The options of a registry entry. */
	optionsOf(entry: string): RealtimePresenceOptions | undefined;
	/** Members of an entry left, and this process has no hook for them. */
	passOn(entry: string, left: LeftMembers): void;
}

/** Members that left channels of one entry. */
export type LeftMembers = readonly {
	channelId: string;
	member: RealtimeMember<Record<string, unknown>>;
}[];

const encoder = new TextEncoder();

interface Attending {
	readonly rooms: Rooms;
	readonly room: Room;
	readonly config: PresenceChannel;
	readonly reader: RoomReader;
	readonly stream: PresenceStream;
	readonly self: PresenceSelf | null;
	/** What `identify` said of the reader. */
	readonly identityId: string | undefined;
	/** When its page last sent a sign of life. */
	beatAtMs: number;
}

/** Who reads which channel, in an endpoint. Owned by it, ended by `handOver`. */
export class Presence {
	readonly #options: PresenceOptions;
	/** The rooms of all streams together, or of each stream. */
	readonly #rooms = new Set<Rooms>();
	/** By the name of the stream that its page knows. */
	readonly #attending = new Map<string, Attending>();
	/** What updates of streams in other processes cost. */
	readonly #costs = new Map<string, number>();
	#isOver = false;

	constructor(options: PresenceOptions) {
		this.#options = options;
		if (!options.isPerStream) this.#createRooms(options.owner, (work) => work());
	}

	/** Channels and streams that are watched now. */
	get size(): { rooms: number; streams: number } {
		const rooms = [...this.#rooms].reduce((sum, { all }) => sum + all.length, 0);
		return { rooms, streams: this.#attending.size };
	}

	/** How many members the rooms of each registry entry have. */
	membersByEntry(): Map<string, number> {
		// Several streams may each have a room of one channel.
		const rooms = new Map(this.#allRooms.map((room) => [room.key, room]));
		const counts = new Map<string, number>();
		for (const [key, room] of rooms) {
			const [, entry] = JSON.parse(key) as [string, string];
			if (!this.#options.optionsOf(entry)) continue;
			counts.set(entry, (counts.get(entry) ?? 0) + room.members.length);
		}
		return counts;
	}

	/**
	 * Asks the app who a reader is.
	 *
	 * @throws {Failure} `admission`: 409 when the channel is full, 500 when the app's answer makes no
	 *   sense, 503 when it does not come in time, 403 or the status of `error()` when it denies.
	 */
	async selfOf(
		{ entry, channel, options }: PresenceChannel,
		request: {
			event: RequestEvent;
			params: RealtimeRequestParams;
			identity: { readonly id: string } | null;
		}
	): Promise<PresenceSelf | null> {
		const { event, params, identity } = request;
		const { member, maxMembers } = options;
		const answer = member
			? await this.#ask('presence.member', () =>
					member({ locals: event.locals, event, params: { ...params }, channelId: channel })
				)
			: identity && {};
		const self = readSelf(answer, identity?.id);
		if (!self) return null;
		if (maxMembers !== undefined && (await this.#isFull({ entry, channel }, self, maxMembers))) {
			this.#call('presence.onFull', entry, channel, fromSelf(self));
			throw fullFailure(channel, maxMembers);
		}
		return self;
	}

	/** A stream begins to read a channel. */
	attend(
		config: PresenceChannel,
		self: PresenceSelf | null,
		identityId: string | undefined,
		stream: PresenceStream
	): Attendance {
		const name = `${stream.name}/${crypto.randomUUID()}`;
		const rooms = this.#roomsOf(stream);
		const room = rooms.enter(config);
		const reader: RoomReader = {
			head: { ...(self && { self: self.id, beatMs: BEAT_MS }), stream: name },
			get hasRoom() {
				return stream.hasRoom;
			},
			whenRoom: () => stream.whenRoom(),
			push: (chunk) => stream.push(chunk),
			pushSync: (chunks) => stream.pushSync(chunks),
			refuse: (failure) => stream.refuse(failure)
		};
		const attending: Attending = {
			rooms,
			room,
			config,
			reader,
			stream,
			self,
			identityId,
			beatAtMs: performance.now()
		};
		this.#attending.set(name, attending);
		void detached(() => room.enter(reader, self));
		return {
			end: (atOnce) => {
				if (!this.#attending.delete(name)) return;
				room.leave(reader, self, atOnce ? 0 : this.#graceMs(attending));
			}
		};
	}

	/** Whether a stream of that name is here. */
	has(stream: string): boolean {
		return this.#attending.has(stream);
	}

	/** What a request with that stream costs. */
	costOf({ stream, data }: PresenceRequest): number {
		return data === undefined ? 0 : this.entryCostOf(stream);
	}

	/** What an update of that stream costs; of one in another process, as far as that was learned. */
	entryCostOf(stream: string): number {
		const attending = this.#attending.get(stream);
		return (attending ? attending.config.options.cost : this.#costs.get(stream)) ?? 1;
	}

	/** Remembers what an update of a stream in another process costs. */
	learnCost(stream: string, cost: number): void {
		this.#costs.delete(stream);
		this.#costs.set(stream, cost);
		if (this.#costs.size > MAX_COSTS) this.#costs.delete(this.#costs.keys().next().value!);
	}

	/** Whether this process has a hook for members of an entry that left. */
	hearsLeaves(entry: string): boolean {
		return this.#options.optionsOf(entry)?.onLeave !== undefined;
	}

	/** Calls the hook for members that left. */
	tellLeft(entry: string, left: LeftMembers): void {
		for (const { channelId, member } of left) {
			this.#call('presence.onLeave', entry, channelId, member);
		}
	}

	/**
	 * Takes what a page sends about its own member.
	 *
	 * @param identityId Who sent it.
	 * @throws {Failure} `authorization` 403 when the stream is somebody else's or its reader is no member,
	 *   `request-validation`: 400, 413; `stream` 503 when it is not taken in time.
	 */
	async take(request: PresenceRequest, identityId: string | undefined): Promise<void> {
		const attending = this.#attending.get(request.stream);
		if (!attending || attending.identityId !== identityId) throw unknownStream();
		// The page's own request may end before the others are told.
		const taken = new Promise<void>((resolve, reject) => {
			attending.stream.run(() => void this.#take(attending, request).then(resolve, reject));
		});
		// On Workers a request that waits for nothing but another one counts as hung.
		await inTime(taken, 2 * this.#options.callbackTimeoutMs, lateUpdate);
	}

	async #take(
		attending: Attending,
		{ stream, data, ttlMs, reset, sync }: PresenceRequest
	): Promise<void> {
		const { room, reader, self, config } = attending;
		attending.beatAtMs = performance.now();
		if (sync) room.sync(reader);
		if (data === undefined) return;
		if (!self) {
			throw new Failure(
				'authorization',
				403,
				'This reader is no member, and has no data to update.'
			);
		}
		await room.change(self.id, async (current) => {
			const validated = await this.#validate(config, current, data, reset);
			// It may have been revoked meanwhile.
			if (!this.#attending.has(stream)) throw unknownStream();
			return { data: validated, fields: Object.keys(data), ttlMs };
		});
	}

	/**
	 * The members of a channel, oldest first.
	 *
	 * @throws {RealtimeError} `BACKEND` when the backend is away and nobody reads the channel here.
	 */
	async members(place: Pick<PresenceChannel, 'entry' | 'channel'>): Promise<RealtimeMember[]> {
		const room = this.#roomOf(place);
		if (!room || !this.#options.isAway()) return this.stored(place);
		return room.members.map(fromStored).sort((a, b) => a.joinedAt - b.joinedAt);
	}

	/** The members as the store has them. @throws {RealtimeError} `BACKEND` when it is away. */
	async stored(place: Pick<PresenceChannel, 'entry' | 'channel'>): Promise<RealtimeMember[]> {
		const members = await this.#options.store.members(keyOf(place));
		return members.map(fromStored).sort((a, b) => a.joinedAt - b.joinedAt);
	}

	/** The store is away. */
	goLocal(): void {
		for (const rooms of this.#rooms) rooms.goLocal();
	}

	/** The store is back. */
	restore(): void {
		for (const rooms of this.#rooms) rooms.restore();
	}

	/** Leaves all members to other processes, where whoever comes back in time has not left. */
	async handOver(): Promise<void> {
		if (this.#isOver) return;
		this.#isOver = true;
		const graces = [...this.#attending.values()].map((attending) => this.#graceMs(attending));
		const leaseMs = Math.max(...graces, 1);
		await Promise.all([...this.#rooms].map((rooms) => rooms.handOver(leaseMs)));
	}

	/** Lets go of everything. */
	async close(): Promise<void> {
		const handedOver = this.handOver();
		for (const rooms of this.#rooms) rooms.close();
		this.#attending.clear();
		await handedOver;
	}

	get #allRooms(): Room[] {
		return [...this.#rooms].flatMap(({ all }) => all);
	}

	#roomOf(place: Pick<PresenceChannel, 'entry' | 'channel'>): Room | undefined {
		const key = keyOf(place);
		return this.#allRooms.find((room) => room.key === key);
	}

	#roomsOf({ run }: PresenceStream): Rooms {
		if (this.#options.isPerStream) return this.#createRooms(crypto.randomUUID(), run);
		const [rooms] = this.#rooms;
		return rooms!;
	}

	/** @param run Runs work in the request that the rooms belong to. */
	#createRooms(owner: string, run: (work: () => void) => void): Rooms {
		const { store, isAway, isShared, isPerStream, heartbeatMs } = this.#options;
		const rooms: Rooms = new Rooms({
			store,
			owner,
			isAway,
			isShared,
			heartbeatMs,
			run,
			looked: () => this.#endSilent(rooms),
			reaped: (members) => this.#reaped(members),
			told: (hook, { entry, channel }, member) => this.#call(hook, entry, channel, member),
			idle: () => {
				if (isPerStream) this.#rooms.delete(rooms);
			}
		});
		this.#rooms.add(rooms);
		return rooms;
	}

	/** The store gives members that are gone to one process alone: another may have the hook for them. */
	#reaped(reaped: Awaited<ReturnType<PresenceStore['reap']>>): void {
		const left = new Map<string, { channelId: string; member: ReturnType<typeof fromStored> }[]>();
		for (const { channel: key, member } of reaped) {
			const [channelId, entry] = JSON.parse(key) as [string, string];
			const members = left.get(entry) ?? [];
			members.push({ channelId, member: fromStored(member) });
			left.set(entry, members);
		}
		for (const [entry, members] of left) {
			if (this.hearsLeaves(entry)) this.tellLeft(entry, members);
			// Processes themselves are members, and nobody hears of them.
			else if (!entry.startsWith('$')) this.#options.passOn(entry, members);
		}
	}

	/** Where a line died silently nothing else tells of it. */
	#endSilent(rooms: Rooms): void {
		const nowMs = performance.now();
		for (const attending of this.#attending.values()) {
			if (!attending.self || attending.rooms !== rooms) continue;
			const aloneMs = SILENT_MS - Math.min(this.#graceMs(attending), SILENT_MS - 2 * BEAT_MS);
			if (nowMs - attending.beatAtMs >= aloneMs) attending.stream.lost();
		}
	}

	#graceMs({ config }: Attending): number {
		return config.options.graceMs ?? DEFAULT_GRACE_MS;
	}

	async #isFull(
		place: Pick<PresenceChannel, 'entry' | 'channel'>,
		{ id }: PresenceSelf,
		maxMembers: number
	): Promise<boolean> {
		if (this.#roomOf(place)?.has(id)) return false;
		try {
			const members = await this.members(place);
			return members.length >= maxMembers && !members.some((member) => member.id === id);
		} catch {
			return false;
		}
	}

	async #validate(
		{ definition, options, channel }: PresenceChannel,
		current: MemberState | undefined,
		patch: Record<string, unknown>,
		reset = false
	): Promise<Record<string, unknown>> {
		const schema = options.schema ?? presenceSchema(definition);
		if (!schema || !current) {
			throw new Failure(
				'request-validation',
				400,
				`Members of channel ${JSON.stringify(channel)} have no data that a page can update: its presence has no schema.`
			);
		}
		const { data, base } = current;
		const fixed = Object.fromEntries(
			(options.fixed ?? []).map((field) => [field, base[field]] as const)
		);
		const merged = { ...(reset ? base : data), ...patch, ...fixed };
		const result = await this.#ask('schema', () => schema['~standard'].validate(merged));
		const json = result.issues ? undefined : JSON.stringify(result.value);
		if (json === undefined || !isObject(JSON.parse(json))) {
			const [issue] = result.issues ?? [];
			throw new Failure(
				'request-validation',
				400,
				`The data of this member does not match its schema: ${issue?.message ?? 'it is not an object'}.`
			);
		}
		if (encoder.encode(json).length > MAX_DATA_BYTES) {
			throw new Failure(
				'request-validation',
				413,
				`The data of a member may have at most ${MAX_DATA_BYTES} bytes.`
			);
		}
		return JSON.parse(json) as Record<string, unknown>;
	}

	async #ask<T>(callback: RealtimeCallback, call: () => T | PromiseLike<T>): Promise<Awaited<T>> {
		try {
			return (await callApp(callback, this.#options.callbackTimeoutMs, call)) as Awaited<T>;
		} catch (error) {
			const texts = { denied: TEXT.denied, fault: TEXT.identity };
			throw (error as CallbackError).asFailure('admission', texts, 500);
		}
	}

	/** Calls a hook of the app; what it throws goes to `onFailure`. */
	#call(
		callback: PresenceHook,
		entry: string,
		channelId: string,
		member: RealtimeMember<Record<string, unknown>>
	): void {
		const hooks = this.#options.optionsOf(entry);
		const name = callback.slice('presence.'.length) as 'onJoin' | 'onLeave' | 'onFull';
		const hook: ((context: RealtimePresenceContext) => unknown) | undefined = hooks?.[name];
		if (!hook) return;
		const fail = (error: unknown): void => {
			const texts = { denied: TEXT.hook, fault: TEXT.hook };
			const failure = (error as CallbackError).asFailure('stream', texts, 500);
			this.#options.report(failure, { channelId });
		};
		void detached(async () => {
			try {
				await callApp(callback, this.#options.callbackTimeoutMs, () => hook({ channelId, member }));
			} catch (error) {
				fail(error);
			}
		});
	}
}

/** @returns nothing for a reader that is no member, or has no name. */
function readSelf(answer: unknown, identityId: string | undefined): PresenceSelf | null {
	const { id = identityId, data = {} } = isObject(answer) ? answer : { id: null };
	if (answer === null || id === undefined) return null;
	const json: unknown = isObject(data) ? JSON.parse(JSON.stringify(data)) : undefined;
	if (typeof id === 'string' && id !== '' && isObject(json)) return { id, data: json };
	const cause = new TypeError(
		'presence.member must return { id, data }, with a non-empty text as `id` and an object as `data`, or null.'
	);
	throw new Failure('admission', 500, TEXT.identity, { cause, callback: 'presence.member' });
}

function lateUpdate(): Failure {
	return new Failure(
		'stream',
		503,
		'The update was not taken in time; the page may send it again.'
	);
}

function unknownStream(): Failure {
	return new Failure('authorization', 403, 'This stream is not open; the page may connect again.');
}

function isObject(value: unknown): value is Record<string, unknown> {
	return typeof value === 'object' && value !== null && !Array.isArray(value);
}
