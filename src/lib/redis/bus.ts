import { backoffMs } from '../protocol/backoff.js';
import type {
	BackendBus,
	BusListener,
	BusPublishOptions,
	Published
} from '../server/backend/backend.js';
import type { ReplayEvent } from '../server/backend/replay.js';
import { detached, unref } from '../server/backend/support.js';
import type { Line, RedisSource } from './clients.js';
import { inTime, type Commands } from './commands.js';
import { describe } from './errors.js';
import type { Keys } from './keys.js';
import type { RedisLog } from './replay.js';
import { decodeAnnouncement } from './wire.js';

/** Pause before a broken connection is opened again: at first up to this long, in milliseconds. */
const MIN_PAUSE_MS = 50;
const MAX_PAUSE_MS = 2_000;

/** Options of the bus. */
export interface RedisBusOptions {
	readonly timeoutMs: number;
	readonly heartbeatMs: number;
	readonly sharded: boolean;
}

/** A listener for announcements on a channel. None of its methods may throw. */
export interface ChannelListener {
	text(text: string): void;
	/** Announcements arrive from now on. Called again after each `lost`. */
	live(): void;
	lost(error: Error): void;
	/** Whether this process receives messages from their source. @default no */
	isLive?(): boolean;
	/** Resolves when everything this process has received so far is in the log. */
	settled?(): Promise<void> | undefined;
}

interface Listening {
	readonly listener: ChannelListener;
	state: 'new' | 'live' | 'lost';
}

/** A question to all processes that listen to a channel. */
interface Probe {
	readonly channel: string;
	isAsked: boolean;
	answer(isLive: boolean): void;
}

/** A question names the channel for its answer, and an answer names the channel of the question. */
const QUESTION = '?';
const ANSWER = '!';

/**
 * Announcements over pub/sub, with one connection per process while anyone listens. It has one subscription
 * per log, however many listeners the log has. A broken connection is replaced and never repaired, so that
 * each gap is known and reported.
 *
 * A connection may also receive nothing without being broken: its server hangs, or its subscriptions are
 * lost. So when it has been quiet for a while, the process sends itself a message through Redis.
 */
export class RedisBus implements BackendBus {
	readonly #source: RedisSource;
	readonly #commands: Commands;
	readonly #log: RedisLog;
	readonly #keys: Keys;
	readonly #options: RedisBusOptions;
	/** Listeners, by the channel of the log. */
	readonly #listening = new Map<string, Set<Listening>>();
	readonly #heartbeat: string;
	#line: Line | undefined;
	/** Channels that the connection is subscribed to. */
	#subscribed = new Set<string>();
	#isSyncing = false;
	#isScheduled = false;
	#failures = 0;
	#timer: ReturnType<typeof setTimeout> | undefined;
	/** Pending questions whether another process is live. */
	readonly #probes = new Set<Probe>();
	/** Whether anything arrived since the last heartbeat. */
	#wasHeard = false;
	#heard: (() => void) | undefined;
	#isClosed = false;

	constructor(
		source: RedisSource,
		parts: { commands: Commands; log: RedisLog; keys: Keys },
		options: RedisBusOptions
	) {
		this.#source = source;
		this.#commands = parts.commands;
		this.#log = parts.log;
		this.#keys = parts.keys;
		this.#options = options;
		this.#heartbeat = parts.keys.own(crypto.randomUUID());
	}

	publish(log: string, event: ReplayEvent, options?: BusPublishOptions): Promise<Published> {
		return this.#log.publish(log, event, options);
	}

	listen(log: string, listener: BusListener): () => void {
		return this.hear(this.#keys.log(log).channel, {
			text(text) {
				const events = decodeAnnouncement(text);
				if (events.length > 0) listener.events(events);
				else listener.live();
			},
			live: () => listener.live(),
			lost: (error) => listener.lost(error),
			isLive: () => listener.isLive?.() ?? false,
			settled: () => listener.settled?.()
		});
	}

	/** Listens to announcements on a channel. @returns a function that removes the listener. */
	hear(channel: string, listener: ChannelListener): () => void {
		const listening: Listening = { listener, state: 'new' };
		let all = this.#listening.get(channel);
		if (!all) this.#listening.set(channel, (all = new Set()));
		all.add(listening);
		this.#schedule();
		return () => {
			if (!all.delete(listening) || all.size > 0) return;
			this.#listening.delete(channel);
			this.#schedule();
		};
	}

	probe(log: string, timeoutMs: number): Promise<boolean> {
		return new Promise((resolve) => {
			const probe: Probe = {
				channel: this.#keys.log(log).channel,
				isAsked: false,
				answer: (isLive) => {
					clearTimeout(timer);
					this.#probes.delete(probe);
					resolve(isLive);
				}
			};
			const timer = detached(() => unref(setTimeout(() => probe.answer(false), timeoutMs)));
			this.#probes.add(probe);
			this.#ask();
		});
	}

	close(): void {
		this.#isClosed = true;
		for (const probe of this.#probes) probe.answer(false);
		this.#listening.clear();
		this.#end();
	}

	/** Collects the changes of one turn of the event loop, so that they cost one command. */
	#schedule(): void {
		if (this.#isScheduled || this.#isClosed) return;
		this.#isScheduled = true;
		detached(() =>
			setImmediate(() => {
				this.#isScheduled = false;
				void this.#sync();
			})
		);
	}

	/** Updates the connection to the wanted subscriptions. */
	async #sync(): Promise<void> {
		if (this.#isSyncing || this.#isClosed) return;
		// It waits before the next attempt to connect.
		if (!this.#line && this.#timer) return;
		if (this.#listening.size === 0) return this.#end();
		this.#isSyncing = true;
		const line = (this.#line ??= this.#open());
		try {
			await this.#subscribe(line);
		} catch (error) {
			this.#broken(line, error);
		} finally {
			this.#isSyncing = false;
		}
		if (line === this.#line) this.#tellLive();
		if (this.#isOutdated()) this.#schedule();
	}

	#open(): Line {
		const line = this.#source.open(
			{
				broken: (error) => this.#broken(line, error),
				message: (channel, text) => this.#receive(line, channel, text)
			},
			{ purpose: 'messages', sharded: this.#options.sharded }
		);
		return line;
	}

	async #subscribe(line: Line): Promise<void> {
		const { timeoutMs } = this.#options;
		const isNew = this.#subscribed.size === 0;
		if (isNew) await inTime(timeoutMs, () => line.connect());
		if (line !== this.#line) return;
		const added = [...this.#listening.keys()].filter((channel) => !this.#subscribed.has(channel));
		if (isNew) added.push(this.#heartbeat);
		if (added.length > 0) await inTime(timeoutMs, () => line.subscribe(added));
		if (line !== this.#line) return;
		for (const channel of added) this.#subscribed.add(channel);
		const gone = [...this.#subscribed].filter((channel) => this.#isGone(channel));
		if (gone.length > 0) await inTime(timeoutMs, () => line.unsubscribe(gone));
		if (line !== this.#line) return;
		for (const channel of gone) this.#subscribed.delete(channel);
		if (isNew) {
			this.#failures = 0;
			this.#beatLater();
		}
	}

	#isGone(channel: string): boolean {
		return channel !== this.#heartbeat && !this.#listening.has(channel);
	}

	/** Whether more changes came meanwhile. */
	#isOutdated(): boolean {
		const isMissing = [...this.#listening.keys()].some((channel) => !this.#subscribed.has(channel));
		return isMissing || [...this.#subscribed].some((channel) => this.#isGone(channel));
	}

	/** Sends the questions that waited for the connection that brings the answers. */
	#ask(): void {
		if (!this.#subscribed.has(this.#heartbeat)) return;
		for (const probe of this.#probes) {
			if (probe.isAsked) continue;
			probe.isAsked = true;
			this.#say(probe.channel, QUESTION + this.#heartbeat);
		}
	}

	/** Publishes a message that may get lost: anyone who waits for it has a time limit. */
	#say(channel: string, text: string): void {
		this.#commands.publish(this.#publishCommand, channel, text).catch(() => {});
	}

	async #answer(to: string, channel: string, all: ReadonlySet<Listening>): Promise<void> {
		await Promise.all([...all].map(({ listener }) => listener.settled?.()));
		const isLive = [...all].some(({ listener }) => listener.isLive?.());
		if (isLive) this.#say(to, ANSWER + channel);
	}

	get #publishCommand(): 'SPUBLISH' | 'PUBLISH' {
		return this.#options.sharded ? 'SPUBLISH' : 'PUBLISH';
	}

	#tellLive(): void {
		this.#ask();
		for (const [channel, all] of this.#listening) {
			if (!this.#subscribed.has(channel)) continue;
			for (const listening of [...all]) {
				if (listening.state === 'live' || !all.has(listening)) continue;
				listening.state = 'live';
				listening.listener.live();
			}
		}
	}

	#receive(line: Line, channel: string, text: string): void {
		if (line !== this.#line) return;
		this.#wasHeard = true;
		this.#heard?.();
		if (channel === this.#heartbeat) {
			for (const probe of this.#probes) {
				if (text === ANSWER + probe.channel) probe.answer(true);
			}
			return;
		}
		const all = this.#listening.get(channel);
		if (!all) return;
		if (text.startsWith(QUESTION)) {
			const from = text.slice(QUESTION.length);
			if (from !== this.#heartbeat) void this.#answer(from, channel, all);
			return;
		}
		for (const { listener, state } of [...all]) {
			// A listener that is not live yet is about to read everything.
			if (state === 'live') listener.text(text);
		}
	}

	#broken(line: Line, cause: unknown): void {
		if (line !== this.#line) return;
		this.#end();
		const pauseMs = backoffMs(this.#failures++, MIN_PAUSE_MS, MAX_PAUSE_MS);
		this.#later(pauseMs, () => this.#schedule());
		const error = describe(cause);
		for (const listening of [...this.#listening.values()].flatMap((all) => [...all])) {
			if (listening.state === 'lost') continue;
			listening.state = 'lost';
			listening.listener.lost(error);
		}
	}

	#end(): void {
		clearTimeout(this.#timer);
		this.#timer = undefined;
		this.#heard = undefined;
		this.#subscribed = new Set();
		// Ending it reports that it broke, which is not news then.
		const line = this.#line;
		this.#line = undefined;
		line?.destroy();
	}

	#beatLater(): void {
		this.#wasHeard = false;
		this.#later(this.#options.heartbeatMs, () => void this.#beat());
	}

	/** Tests the connection, if nothing has arrived on it. */
	async #beat(): Promise<void> {
		const line = this.#line;
		if (!line) return;
		try {
			if (!this.#wasHeard) await inTime(this.#options.timeoutMs, () => this.#hear());
			if (line === this.#line) this.#beatLater();
		} catch (error) {
			this.#broken(line, error);
		} finally {
			this.#heard = undefined;
		}
	}

	async #hear(): Promise<void> {
		const heard = new Promise<void>((resolve) => (this.#heard = resolve));
		await this.#commands.publish(this.#publishCommand, this.#heartbeat, '');
		await heard;
	}

	#later(ms: number, then: () => void): void {
		this.#timer = unref(
			setTimeout(() => {
				this.#timer = undefined;
				then();
			}, ms)
		);
	}
}
