import { untrack } from 'svelte';
import type { PresenceData, PresencePayload, RealtimeMember } from '../../protocol/presence.js';
import type { RealtimeBus } from '../bus/bus.js';
import { wait } from '../state/schedule.js';
import type { ChannelState } from '../state/channel.js';
import { Signal } from '../state/signal.js';
import type { ChannelOf, ChannelSource } from '../types.js';
import type { RealtimeHookOptions } from './options.js';
import { post } from './post.js';
import { ChannelRef } from './ref.js';

/** Options of `getRealtimeBusPresence`. */
export interface RealtimePresenceHookOptions<
	TSource extends ChannelSource = ChannelSource
> extends RealtimeHookOptions<TSource> {
	/**
	 * Minimum time, in milliseconds, between two updates that are sent. @default once per frame of the screen
	 */
	updateIntervalMs?: number;
}

/** Options of `update`. */
export interface RealtimePresenceUpdateOptions {
	/**
	 * Milliseconds after which the values return to those that the server started with: for values such as
	 * `isTyping`.
	 */
	ttlMs?: number;
}

/** Who is in a channel. */
export interface RealtimePresence<TData = unknown> {
	/** The members, oldest first. Each change makes a new array, with the same objects for unchanged members. */
	readonly current: readonly RealtimeMember<TData>[];
	/** The page's own member; `null` before it has joined, and for a reader that is not a member. */
	readonly self: RealtimeMember<TData> | null;
	/** All other members. */
	readonly others: readonly RealtimeMember<TData>[];
	readonly count: number;
	/**
	 * Changes the data of the page's own member for everybody. Sent at most once per frame of the screen; the
	 * last values are always sent. If the server refuses them, `onFailure` of the manager is called.
	 */
	update(data: Partial<TData>, options?: RealtimePresenceUpdateOptions): void;
	/** Calls `handler` when somebody joins, until the returned function is called or the component ends. */
	onJoin(handler: (member: RealtimeMember<TData>) => void): () => void;
	/** Calls `handler` when somebody leaves; ends like `onJoin`. */
	onLeave(handler: (member: RealtimeMember<TData>) => void): () => void;
}

/** How long, in milliseconds, to wait when an update could not be sent. */
const RETRY_MS = 1_000;

/** An update that is waiting to be sent. */
interface Outgoing {
	data: Record<string, unknown>;
	ttlMs: number | undefined;
	reset?: boolean;
}

/** A field that the page has set. */
interface Own {
	value: unknown;
	/** When it returns, by the page's monotonic clock. */
	endMs: number;
}

class Presence implements RealtimePresence {
	readonly #ref: ChannelRef;
	readonly #intervalMs: number | undefined;
	readonly #changes: Signal;
	readonly #joins: Signal<RealtimeMember>;
	readonly #leaves: Signal<RealtimeMember>;
	#members = new Map<string, RealtimeMember>();
	#list: readonly RealtimeMember[] | undefined;
	#self: string | undefined;
	/** The stream that delivered the members; empty before a `sync`. */
	#stream = '';
	#beat: ReturnType<typeof setInterval> | undefined;
	#outgoing: Outgoing[] = [];
	#isSending = false;
	readonly #own = new Map<string, Own>();

	constructor(channel: ChannelSource, options: RealtimePresenceHookOptions) {
		this.#ref = new ChannelRef(channel, options.channelParams, options.bus);
		this.#intervalMs = options.updateIntervalMs;
		const interval = (): number | undefined => this.#bus.bufferIntervalMs;
		const failed = (error: unknown): void => {
			const message = 'A handler of presence threw.';
			this.#bus.report({ source: 'handler', message, channelId: this.#channelId, error });
		};
		this.#changes = new Signal(failed, interval);
		this.#joins = new Signal(failed, interval);
		this.#leaves = new Signal(failed, interval);
		this.#ref.follow((state) => this.#attend(state));
	}

	get current(): readonly RealtimeMember[] {
		this.#changes.track();
		return (this.#list ??= Object.freeze(
			[...this.#members.values()].sort((a, b) => a.joinedAt - b.joinedAt)
		));
	}

	get self(): RealtimeMember | null {
		this.#changes.track();
		return this.#members.get(this.#self ?? '') ?? null;
	}

	get others(): readonly RealtimeMember[] {
		return this.current.filter(({ id }) => id !== this.#self);
	}

	get count(): number {
		return this.current.length;
	}

	update(data: Record<string, unknown>, { ttlMs }: RealtimePresenceUpdateOptions = {}): void {
		const endMs = performance.now() + (ttlMs ?? Infinity);
		for (const [field, value] of Object.entries(data)) this.#own.set(field, { value, endMs });
		this.#send({ data, ttlMs });
	}

	onJoin(handler: (member: RealtimeMember) => void): () => void {
		return this.#ref.follow(() => this.#joins.listen((member) => handler(member)));
	}

	onLeave(handler: (member: RealtimeMember) => void): () => void {
		return this.#ref.follow(() => this.#leaves.listen((member) => handler(member)));
	}

	get #bus(): RealtimeBus {
		return this.#ref.owner;
	}

	get #channelId(): string {
		return this.#ref.state.channelId;
	}

	#attend(state: ChannelState): () => void {
		const stop = state.frames.listen(({ event, data }) => {
			if (event === 'presence') this.#receive(data);
		});
		// The first `sync` may have come before this hook.
		if (state.stream) {
			const { stream } = state;
			// Run this later, so that the current effect does not depend on what it reads.
			queueMicrotask(() => void post(this.#bus, { presence: { stream, sync: true } }));
		}
		return () => {
			stop();
			clearInterval(this.#beat);
			this.#members = new Map();
			this.#own.clear();
			this.#outgoing = [];
			this.#stream = '';
			this.#changed();
		};
	}

	#receive(payload: PresencePayload): void {
		if (payload.type === 'sync') this.#sync(payload);
		// A change means nothing without the members that it changes.
		else if (!this.#stream) return;
		else if (payload.type === 'leave') for (const id of payload.ids) this.#remove(id);
		else {
			for (const member of payload.members) {
				if (payload.type === 'join' || this.#members.has(member.id)) this.#put(member);
			}
		}
		this.#changed();
	}

	#sync({ members, self, stream, beatMs }: Extract<PresencePayload, { type: 'sync' }>): void {
		const isFirst = !this.#stream;
		const isOther = stream !== this.#stream;
		this.#stream = stream;
		this.#self = self;
		const ids = new Set(members.map(({ id }) => id));
		if (isFirst) this.#members = new Map(members.map((member) => [member.id, member]));
		else {
			for (const id of [...this.#members.keys()]) if (!ids.has(id)) this.#remove(id);
			for (const member of members) this.#put(member);
		}
		if (!isOther) return;
		clearInterval(this.#beat);
		if (beatMs)
			this.#beat = setInterval(() => void post(this.#bus, { presence: { stream } }), beatMs);
		// The server may have forgotten the page's values while it was disconnected.
		if (!isFirst && this.#own.size > 0) this.#sayAgain();
	}

	#put(change: Partial<RealtimeMember> & { id: string }): void {
		const known = this.#members.get(change.id);
		const member = { ...known, ...change } as RealtimeMember;
		if (known && isSame(known, member)) return;
		this.#members.set(change.id, member);
		if (!known) this.#joins.emit(member);
	}

	#remove(id: string): void {
		const member = this.#members.get(id);
		if (!member) return;
		this.#members.delete(id);
		this.#leaves.emit(member);
	}

	#changed(): void {
		this.#list = undefined;
		untrack(() => this.#changes.emit());
	}

	#sayAgain(): void {
		const nowMs = performance.now();
		const byEnd = new Map<number, Record<string, unknown>>([[Infinity, {}]]);
		for (const [field, { value, endMs }] of this.#own) {
			if (endMs <= nowMs) this.#own.delete(field);
			else byEnd.set(endMs, { ...byEnd.get(endMs), [field]: value });
		}
		this.#outgoing = [];
		let reset = true;
		for (const [endMs, data] of byEnd) {
			this.#send({ data, ttlMs: endMs === Infinity ? undefined : endMs - nowMs, reset });
			reset = false;
		}
	}

	#send(outgoing: Outgoing): void {
		const last = this.#outgoing.at(-1);
		if (last && last.ttlMs === outgoing.ttlMs && !outgoing.reset) {
			Object.assign(last.data, outgoing.data);
		} else this.#outgoing.push({ ...outgoing, data: { ...outgoing.data } });
		if (this.#isSending) return;
		this.#isSending = true;
		void this.#sendAll();
	}

	/** Sends waiting updates, one request at a time; updates that come meanwhile are sent together. */
	async #sendAll(): Promise<void> {
		for (;;) {
			await pause(this.#intervalMs);
			// Before a `sync` there is no member to update.
			while (this.#outgoing.length > 0 && !this.#stream) await pause(RETRY_MS / 10);
			const next = this.#outgoing.shift();
			if (!next) break;
			const { status, message, retryAfterMs } = await post(this.#bus, {
				presence: { stream: this.#stream, ...next }
			});
			if (status === 0 || status === 429 || status >= 500) {
				this.#putBack(next);
				await pause(retryAfterMs || RETRY_MS);
			} else if (status >= 400) {
				const channelId = this.#channelId;
				this.#bus.report({ source: 'request', message, channelId, status });
			}
		}
		this.#isSending = false;
	}

	/** Updates that came after it are newer. */
	#putBack(failed: Outgoing): void {
		const [next] = this.#outgoing;
		if (next?.ttlMs === failed.ttlMs && !next?.reset) {
			this.#outgoing[0] = { ...failed, data: { ...failed.data, ...next?.data } };
		} else this.#outgoing.unshift(failed);
	}
}

function pause(ms: number | undefined): Promise<void> {
	return new Promise((resolve) => {
		const end = wait(ms, () => {
			end?.();
			resolve();
		});
		if (!end) resolve();
	});
}

function isSame(a: RealtimeMember, b: RealtimeMember): boolean {
	return (
		a.streams === b.streams &&
		a.joinedAt === b.joinedAt &&
		(a.data === b.data || JSON.stringify(a.data) === JSON.stringify(b.data))
	);
}

/**
 * The members of a channel whose registry entry has `presence`, with the data of their pages: cursors, who is
 * typing, selections. Typed by `withPresence`.
 *
 * @param channel A channel, its definition, or a function that returns one.
 * @throws {RealtimeError} `NO_MANAGER` outside a manager and without a bus, `CHANNEL_NOT_ACTIVE` when
 * no manager around subscribes to the channel.
 * @example
 * ```svelte
 * <script lang="ts">
 *   const people = getRealtimeBusPresence(boardChannel);
 * </script>
 *
 * <svelte:window onpointermove={({ clientX: x, clientY: y }) => people.update({ x, y })} />
 * {#each people.others as { id, data } (id)}
 *   <Cursor {...data} />
 * {/each}
 * ```
 */
export function getRealtimeBusPresence<TChannel extends ChannelSource>(
	channel: TChannel,
	options: RealtimePresenceHookOptions<TChannel> = {}
): RealtimePresence<PresenceData<ChannelOf<TChannel>>> {
	return new Presence(channel, options as RealtimePresenceHookOptions) as RealtimePresence as never;
}
