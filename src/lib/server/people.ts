import { RealtimeError } from '../protocol/errors.js';
import type { PresenceRequest, RealtimeMember } from '../protocol/presence.js';
import { printable, quoted } from '../protocol/quote.js';
import type { ChannelLike } from '../protocol/channel.js';
import type { RealtimeTopicEnvelope } from '../protocol/types.js';
import type { RealtimeRate } from './access/options.js';
import { type RateKind, RateLimiter, sendersOf } from './access/rate.js';
import type { Registry } from './access/registry.js';
import { guardBackend } from './backend/guard.js';
import { HeldPresenceStore } from './backend/heldPresence.js';
import { Failure } from './failure/failure.js';
import type { Report } from './failure/report.js';
import { AskEntry, LogEntry } from './hub/entry.js';
import { checkOutgoing, describePlace } from './inngest/outgoing.js';
import { addressOf, type PublishTarget } from './inngest/target.js';
import type { Settings } from './options.js';
import {
	attributeJson,
	fitsChannel,
	plainIdentity,
	type StreamDirectory,
	type StreamEntry,
	type StreamPresence,
	type StreamsWhere
} from './backend/streams.js';
import { BusFleet } from './presence/busFleet.js';
import type { Fleet, FleetHandler } from './presence/fleet.js';
import { Presence, type LeftMembers } from './presence/presence.js';
import type { PresenceChannel } from './presence/rooms.js';
import { StreamFleet } from './presence/streamFleet.js';
import type { Connection, ConnectionChannel } from './stream/connection.js';

/** How long, in milliseconds, a page has to answer, unless it is said otherwise. */
const ASK_TIMEOUT_MS = 5_000;

/** Where the processes of a fleet are members themselves. */
const PROCESSES: PresenceChannel = {
	entry: '$fleet',
	channel: '$fleet',
	definition: { name: '$fleet', topics: {} },
	options: { graceMs: 0 }
};

/** Whom a message is for: the id of a member, or attributes that `identify` returned. */
export type RealtimeTarget = string | Readonly<Record<string, unknown>>;

/** Options of `ask`. */
export interface RealtimeAskOptions {
	/** How long, in milliseconds, the page has to answer. @default 5_000 */
	timeoutMs?: number;
}

/** Which streams are meant. */
type Where = Pick<StreamsWhere, 'channel' | 'target' | 'senders'>;

/** What a process knows of a question that was put to its pages. */
interface Asked {
	/** Streams of the member. */
	streams: number;
	/** Those that may read the topic. */
	allowed: number;
	reply?: Reply;
}

type Reply = { data: unknown } | { error: string };

/** A question that waits for its answer. */
interface Question {
	/** Whether somebody was asked: its id by `identify`; `undefined` for a reader without a name. */
	isFor(identityId: string | undefined): boolean;
	/** The one stream that was asked, where each is asked by itself: its time is over when it ends. */
	readonly stream: Connection | undefined;
	end(reply?: Reply): void;
}

/** What became of an answer in the process that asked. */
type Taken = 'taken' | 'denied';

/** What people are found with. */
export interface PeopleOptions {
	settings: Settings;
	registry: Registry;
	rate: RealtimeRate | undefined;
	report: Report;
	/** A sender did too much. */
	rateLimited(kind: RateKind): void;
	/** Whether streams share a process, whose timers and lines outlive each of them. */
	isShared: boolean;
	open(): readonly Connection[];
}

/** Who reads here and in all other processes, and how they are reached. Owned by its endpoint. */
export class People {
	readonly presence: Presence;
	readonly rates: RateLimiter;
	readonly #options: PeopleOptions;
	/** Names this process in the backend. */
	readonly #owner = crypto.randomUUID();
	readonly #fleet: Fleet;
	readonly #isFleet: boolean;
	/** Where each stream is asked by itself: the streams of all isolates, and the entries of those here. */
	readonly #directory: StreamDirectory | undefined;
	readonly #entries = new Map<Connection, StreamPresence>();
	readonly #handlers: Readonly<Record<string, FleetHandler<Connection>>>;
	/** Questions that pages of this process were asked: one for each time that it was asked itself. */
	readonly #asked = new Map<string, Set<Question>>();
	#stopListening: () => void = () => {};
	#hasEntered = false;

	constructor(options: PeopleOptions) {
		const { settings, registry, rate, report, isShared } = options;
		const { callbackTimeoutMs, heartbeatMs, backend: given } = settings;
		const backend = given && guardBackend(given);
		this.#options = options;
		this.rates = new RateLimiter({
			rate,
			store: backend?.rateLimit,
			callbackTimeoutMs,
			refused: options.rateLimited
		});
		this.#directory = isShared ? undefined : backend?.streams;
		const shared = backend?.presence;
		const store = isShared || shared?.holdsLeases ? shared : undefined;
		const presence = new Presence({
			store: store ?? new HeldPresenceStore(),
			owner: this.#owner,
			isAway: () => store !== undefined && backend!.breaker.state !== 'closed',
			isShared: store !== undefined,
			isPerStream: !isShared,
			heartbeatMs,
			callbackTimeoutMs,
			report,
			optionsOf: (entry) => registry.entries.get(entry)?.presence,
			passOn: (entry, left) => void this.#passOn(entry, left)
		});
		this.presence = presence;
		if (store) {
			this.#stopListening = backend!.breaker.listen((state) => {
				if (state === 'closed') presence.restore();
				else presence.goLocal();
			});
		}
		this.#handlers = {
			count: (where, stream) => this.#find(where as Where, stream).streams.size,
			end: (data, stream) => this.#end(data as [Where, string, number], stream),
			recheck: (where, stream) => this.#recheck(where as Where, stream),
			send: (data, stream) => this.#send(data as SentData, stream),
			take: (data) => this.#takeHere(...(data as [PresenceRequest, string | null])),
			ask: (data, stream) => this.#ask(data as AskedData, stream),
			reply: (data) => this.#reply(...(data as [string, Reply, string | null])),
			asked: (id) => this.#endQuestions(id as string, { error: 'Another page answered.' }),
			hears: (entry) => (presence.hearsLeaves(entry as string) ? this.#owner : undefined),
			left: (data) => this.#tellLeft(data as LeftData)
		};
		this.#isFleet = Boolean(isShared && backend?.bus && backend.replay && store);
		this.#fleet = this.#createFleet();
	}

	#createFleet(): Fleet {
		const owner = this.#owner;
		const handlers = this.#handlers;
		const directory = this.#directory;
		if (directory) {
			const countOwn = (where: StreamsWhere): number => this.#find(where).streams.size;
			return new StreamFleet({ directory, owner, handlers, countOwn });
		}
		const { backend } = this.#options.settings;
		if (!this.#isFleet) return new BusFleet(undefined, handlers);
		const { bus, replay } = guardBackend(backend!);
		const processes = async (): Promise<string[]> =>
			(await this.presence.stored(PROCESSES)).map(({ id }) => id);
		return new BusFleet({ bus: bus!, replay: replay!, owner, processes }, handlers);
	}

	/** The channels of a stream are other ones now: where each stream is asked by itself, it can be found by them. */
	changed(stream: Connection): void {
		if (!this.#directory || stream.ended) return;
		const entry = this.#entryOf(stream);
		const known = this.#entries.get(stream);
		if (known) return known.update(entry);
		const answer = (question: string, data: unknown): unknown =>
			this.#handlers[question]?.(data, stream);
		this.#entries.set(stream, this.#directory.enter(entry, answer));
	}

	/** A stream has ended. */
	ended(stream: Connection): void {
		this.#entries.get(stream)?.leave();
		this.#entries.delete(stream);
		for (const question of [...this.#asked.values()].flatMap((questions) => [...questions])) {
			if (question.stream === stream) question.end();
		}
	}

	#entryOf({ request, channels }: Connection): StreamEntry {
		return {
			name: request.name,
			owner: this.#owner,
			channels: channels.map(({ channel, memberId }) => ({ channel, memberId })),
			identity: request.identity && plainIdentity(request.identity),
			sender: request.sender
		};
	}

	/** This process has a stream: from now on the others count with it. */
	enterFleet(): void {
		if (this.#hasEntered || !this.#isFleet) return;
		this.#hasEntered = true;
		this.#fleet.listen();
		this.presence.attend(PROCESSES, { id: this.#owner, data: {} }, undefined, {
			name: this.#owner,
			hasRoom: true,
			whenRoom: () => Promise.resolve(),
			push() {},
			pushSync() {},
			refuse() {},
			lost() {},
			run: (work) => work()
		});
	}

	/** Takes what a page sends about its own member, in whichever process its stream is. */
	take = async (request: PresenceRequest, identityId: string | undefined): Promise<void> => {
		if (this.presence.has(request.stream) || !(this.#isFleet || this.#directory)) {
			return this.presence.take(request, identityId);
		}
		const [name] = request.stream.split('/');
		const answers = await this.#fleet.ask<TakeResult>('take', [request, identityId ?? null], {
			where: { name },
			isEnough: ({ length }) => length > 0
		});
		const [result] = answers;
		if (!result) return this.presence.take(request, identityId);
		this.presence.learnCost(request.stream, result.cost);
		if (result.failure) {
			const { stage, status, message } = result.failure;
			throw new Failure(stage, status, message);
		}
	};

	/**
	 * Takes a page's answer to a question; one that comes too late is of no use.
	 *
	 * @throws {Failure} `authorization` 403 when somebody else was asked.
	 */
	async reply(id: string, reply: Reply, identityId: string | undefined): Promise<void> {
		const answers = await this.#fleet.ask<Taken>('reply', [id, reply, identityId ?? null], {
			where: { asked: id },
			isEnough: ({ length }) => length > 0
		});
		if (!answers.includes('denied')) return;
		throw new Failure('authorization', 403, 'Somebody else was asked this question.');
	}

	async members(channel: ChannelLike, channelParams: unknown): Promise<RealtimeMember[]> {
		const { feed } = this.#options.registry.feedOf(channel, { channelParams });
		return this.presence.members(feed);
	}

	/** @returns how many streams fit, in all processes. */
	async count(where: Where): Promise<number> {
		checkTarget(where);
		return this.#fleet.count(where);
	}

	/**
	 * Ends channels of streams that fit, in all processes.
	 *
	 * @returns how many.
	 */
	async end(where: Where, reason: string, status: number): Promise<number> {
		checkTarget(where);
		return this.#sum('end', [where, reason, status], where);
	}

	async recheck(where: Where): Promise<void> {
		checkTarget(where);
		await this.#sum('recheck', where, where);
	}

	async ban(key: string, ms: number): Promise<void> {
		await this.rates.ban(key, ms);
		if (ms > 0) await this.end({ senders: sendersOf(key) }, 'You are kept out for a while.', 429);
	}

	/** Sends a message to streams of one member, or of those with some attributes. @returns how many. */
	async emitTo(target: RealtimeTarget, topic: PublishTarget, data: unknown): Promise<number> {
		checkTarget({ target });
		const payload = await this.#payload(topic, data);
		const { channel } = JSON.parse(payload) as RealtimeTopicEnvelope;
		return this.#sum('send', { target, payload }, { target, channel });
	}

	/**
	 * Asks the pages of a member; the first answer counts.
	 *
	 * @throws {RealtimeError} see `Realtime.ask`.
	 */
	async ask(
		id: string,
		topic: PublishTarget,
		data: unknown,
		{ timeoutMs = ASK_TIMEOUT_MS }: RealtimeAskOptions = {}
	): Promise<unknown> {
		checkTarget({ target: id });
		const payload = await this.#payload(topic, data);
		const question = crypto.randomUUID();
		const where = { target: id };
		const answers = await this.#fleet.ask<Asked>(
			'ask',
			{ question, target: id, payload, timeoutMs },
			{
				where,
				id: question,
				timeoutMs: timeoutMs + 500,
				isEnough: (answers) => answers.some(({ reply }) => reply)
			}
		);
		const over = this.#fleet.ask('asked', question, { where }).catch(() => {});
		// On Workers nothing goes on after its request.
		if (this.#directory) await over;
		const reply = answers.find(({ reply }) => reply)?.reply;
		if (reply && 'data' in reply) return reply.data;
		const who = `member ${quoted(id)}`;
		if (reply)
			throw new RealtimeError('HANDLER', `A page of ${who} failed: ${printable(reply.error)}`);
		if (!answers.some(({ streams }) => streams)) {
			throw new RealtimeError('NOBODY', `Nobody was asked: ${who} has no open stream.`);
		}
		if (!answers.some(({ allowed }) => allowed)) {
			throw new RealtimeError('DENIED', `Nobody was asked: no stream of ${who} reads that topic.`);
		}
		throw new RealtimeError(
			'TIMEOUT',
			`No page of ${who} answered within ${timeoutMs} ms. Its pages answer with onAsk().`
		);
	}

	/** The process is asked to stop: its members are left to others. */
	stop(): void {
		void this.presence.handOver();
	}

	close(): void {
		this.#stopListening();
		this.#fleet.close();
		void this.presence.close();
	}

	async #sum(question: string, data: unknown, where: Where): Promise<number> {
		const answers = await this.#fleet.ask<number>(question, data, { where });
		return answers.reduce((sum, number) => sum + number, 0);
	}

	/** @param only The one stream that is asked; otherwise all streams of this process are. */
	#find(
		where: Where,
		only?: Connection
	): { streams: Set<Connection>; channels: ConnectionChannel[] } {
		const { senders } = where;
		const streams = new Set<Connection>();
		const channels: ConnectionChannel[] = [];
		for (const connection of only ? [only] : this.#options.open()) {
			const { identity, sender } = connection.request;
			if (senders && !(sender !== undefined && senders.includes(sender))) continue;
			for (const one of connection.channels) {
				if (!fitsChannel(one, identity, where)) continue;
				streams.add(connection);
				channels.push(one);
			}
		}
		return { streams, channels };
	}

	#end([where, reason, status]: [Where, string, number], only?: Connection): number {
		const { streams, channels } = this.#find(where, only);
		for (const channel of channels) {
			channel.run(() => channel.fail(new Failure('admission', status, reason)));
		}
		return streams.size;
	}

	#recheck(where: Where, only?: Connection): number {
		const { streams } = this.#find(where, only);
		for (const stream of streams) {
			// One that does not hold its request comes back at once, and is authorized anew.
			if (stream.channels.every(({ canRecheck }) => canRecheck)) {
				for (const channel of stream.channels) channel.run(() => channel.recheck());
			} else stream.run(() => stream.end());
		}
		return streams.size;
	}

	async #payload(topic: PublishTarget, data: unknown): Promise<string> {
		const { registry } = this.#options;
		const address = await addressOf(topic, data, registry.channels);
		if (!address.definition) {
			throw new RealtimeError(
				'UNKNOWN_CHANNEL',
				`Nothing was sent: no entry of \`channels\` has ${describePlace(address)}.`
			);
		}
		const { output } = await checkOutgoing(address, data, registry.callbackTimeoutMs);
		const envelope: RealtimeTopicEnvelope = {
			channel: address.channel,
			topic: address.topic,
			data: output,
			createdAt: new Date().toISOString(),
			kind: 'data'
		};
		return JSON.stringify(envelope);
	}

	#send({ target, payload }: SentData, only?: Connection): number {
		const { channel, topic } = JSON.parse(payload) as RealtimeTopicEnvelope;
		const entry = new LogEntry({ cursor: '', kind: 'message', topic, payload });
		const channels = this.#find({ channel, target }, only).channels.filter(({ topics }) =>
			topics.has(topic)
		);
		for (const one of channels) one.run(() => one.send(entry));
		return channels.length;
	}

	async #takeHere(request: PresenceRequest, id: string | null): Promise<TakeResult | undefined> {
		if (!this.presence.has(request.stream)) return undefined;
		const cost = this.presence.entryCostOf(request.stream);
		try {
			await this.presence.take(request, id ?? undefined);
			return { cost };
		} catch (error) {
			if (!(error instanceof Failure)) throw error;
			const { stage, status, message } = error;
			return { cost, failure: { stage, status, message } };
		}
	}

	#ask(
		{ question, target, payload, timeoutMs }: AskedData,
		only?: Connection
	): Asked | Promise<Asked> {
		const { channel, topic, data } = JSON.parse(payload) as RealtimeTopicEnvelope;
		const streams = [...this.#find({ target }, only).streams];
		const channels = this.#find({ channel, target }, only).channels.filter(({ topics }) =>
			topics.has(topic)
		);
		if (channels.length === 0) return { streams: streams.length, allowed: 0 };
		// A check of each message may have ended some.
		const countAllowed = (): number => channels.filter(({ hasEnded }) => !hasEnded).length;
		const named = new Set(streams.map(({ request }) => request.identity?.id));
		const tell = (more: object, isOver: boolean): void => {
			const text = JSON.stringify({ channel, topic, id: question, ...more });
			const entry = new AskEntry({ topic, payload, text, isOver });
			for (const one of channels) one.run(() => one.send(entry));
		};
		return new Promise((resolve) => {
			const end = (reply?: Reply): void => {
				clearTimeout(timer);
				asked.delete(own);
				if (asked.size === 0) this.#asked.delete(question);
				// Handlers of other tabs need not go on.
				tell({ isOver: true }, true);
				const counts = { streams: streams.length, allowed: countAllowed() };
				resolve({ ...counts, ...(reply && { reply }) });
			};
			const timer = setTimeout(end, timeoutMs);
			const own: Question = { isFor: (id) => named.has(id), stream: only, end };
			const asked = this.#asked.get(question) ?? new Set();
			this.#asked.set(question, asked.add(own));
			tell({ data }, false);
			if (countAllowed() === 0) end();
		});
	}

	/** @returns nothing where the question was not asked here. */
	#reply(id: string, reply: Reply, identityId: string | null): Taken | undefined {
		const questions = this.#asked.get(id);
		if (!questions) return undefined;
		if (![...questions].some(({ isFor }) => isFor(identityId ?? undefined))) return 'denied';
		this.#endQuestions(id, reply);
		return 'taken';
	}

	#endQuestions(id: string, reply: Reply): void {
		for (const { end } of [...(this.#asked.get(id) ?? [])]) end(reply);
	}

	/** Finds a process whose registry has a hook for members that left. */
	async #passOn(entry: string, left: LeftMembers): Promise<void> {
		// Isolates run the same code.
		if (this.#directory) return;
		try {
			const answers = await this.#fleet.ask<string>('hears', entry, {
				isEnough: ({ length }) => length > 0
			});
			const [owner] = answers;
			if (owner !== undefined) await this.#fleet.ask('left', { owner, entry, left });
		} catch {
			// The breaker tells of a backend that is away.
		}
	}

	#tellLeft({ owner, entry, left }: LeftData): true | undefined {
		if (owner !== this.#owner) return undefined;
		this.presence.tellLeft(entry, left);
		return true;
	}
}

/**
 * A target that is missing would mean everybody.
 *
 * @throws {RealtimeError} `INVALID_OPTION` for what is neither an id nor attributes.
 */
function checkTarget(where: Where): void {
	if (!('target' in where)) return;
	const target: unknown = where.target;
	if (typeof target === 'string') return;
	if (typeof target !== 'object' || target === null || Array.isArray(target)) {
		throw new RealtimeError(
			'INVALID_OPTION',
			`Nobody was reached: ${printable(String(target))} is neither the id of a member nor attributes of one, such as { role: 'admin' }.`
		);
	}
	for (const name of Object.keys(target)) {
		if (attributeJson(target as Record<string, unknown>, name) !== undefined) continue;
		throw new RealtimeError(
			'INVALID_OPTION',
			`Nobody was reached: the attribute ${quoted(name)} of the target has no value that JSON can carry. Leave it out, or give it a value.`
		);
	}
}

interface LeftData {
	owner: string;
	entry: string;
	left: LeftMembers;
}

interface SentData {
	target: RealtimeTarget;
	payload: string;
}

interface AskedData {
	question: string;
	target: string;
	payload: string;
	timeoutMs: number;
}

interface TakeResult {
	/** What an update of that stream costs. */
	cost: number;
	failure?: Pick<Failure, 'stage' | 'status' | 'message'>;
}
