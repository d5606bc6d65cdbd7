import { DEV } from 'esm-env';
import { untrack } from 'svelte';
import { resolveChannel, type ChannelLike, type ResolvedChannel } from '../../protocol/channel.js';
import { RUN_TOPIC } from '../../protocol/constants.js';
import { RealtimeError } from '../../protocol/errors.js';
import type { RealtimeTopicEnvelope } from '../../protocol/types.js';
import type { RealtimeBus } from '../bus/bus.js';
import type { ChannelState, TopicSlot } from '../state/channel.js';
import { getRealtimeBus } from '../bus/context.js';
import { follow, onEnd } from '../state/lifetime.svelte.js';
import type { ChannelSource, Reactive } from '../types.js';

/** The value of a reactive argument. */
export function read<T>(value: Reactive<T>): T {
	return typeof value === 'function' ? (value as () => T)() : value;
}

/**
 * What a hook holds of its channel: finds it by its arguments and follows them, until the component (or
 * `$effect.root`) around ends.
 */
export class ChannelRef {
	readonly bus: RealtimeBus;
	readonly #source: ChannelSource;
	readonly #params: Reactive<unknown>;
	readonly #ends = new Set<() => void>();
	#ended = false;
	#owner: RealtimeBus | undefined;
	#state: ChannelState | undefined;

	/**
	 * @throws {RealtimeError} `NO_MANAGER` without a bus outside a manager, `CHANNEL_NOT_ACTIVE` when no
	 * manager around subscribes to the channel.
	 */
	constructor(source: ChannelSource, params: Reactive<unknown>, bus = getRealtimeBus()) {
		this.bus = bus;
		this.#source = source;
		this.#params = params;
		void this.state;
		onEnd(() => {
			this.#ended = true;
			for (const end of this.#ends) end();
		});
	}

	/**
	 * A topic of the channel.
	 *
	 * @throws {RealtimeError} `CHANNEL_NOT_ACTIVE` as `state` does.
	 */
	topic(name: string): TopicSlot {
		return this.topicOf(this.state, name);
	}

	/** The same of a state that `follow` handed out. */
	topicOf(state: ChannelState, name: string): TopicSlot {
		if (DEV) warnUnlessRequested(this, state.channelId, name);
		return state.topic(name);
	}

	/** Name and topics of the channel that the arguments mean now. */
	get channel(): ResolvedChannel {
		const source = this.#source;
		// A channel definition is a function as well, but has topics.
		const channel = typeof source === 'function' && !('topics' in source) ? source() : source;
		return resolveChannel(channel as ChannelLike, read(this.#params));
	}

	/** @throws {RealtimeError} `CHANNEL_NOT_ACTIVE` when the arguments now mean a channel that is not. */
	get state(): ChannelState {
		const { name } = this.channel;
		const owner = this.bus.find(name);
		const held = this.#state?.channelId === name ? this.#state : undefined;
		if (owner) {
			this.#state = owner.state(name, owner === this.#owner ? held : undefined);
			this.#owner = owner;
		} else if (!held) {
			throw new RealtimeError(
				'CHANNEL_NOT_ACTIVE',
				`Realtime channel "${name}" is not active. Subscribe to it, or check channelParams.`
			);
		}
		// A channel that is unsubscribed stays readable for those who had it.
		return this.#state as ChannelState;
	}

	/** The bus that carries the channel: the nearest, or one of those around it. */
	get owner(): RealtimeBus {
		void this.state;
		return this.#owner as RealtimeBus;
	}

	/**
	 * Runs `start` for the channel, and again when it becomes another, until the returned function is
	 * called or the component ends.
	 */
	follow(start: (state: ChannelState) => () => void): () => void {
		if (this.#ended) return () => {};
		const stop = follow(
			() => {
				try {
					return this.state;
				} catch {
					// Reading throws it; here nobody could catch it.
					return undefined;
				}
			},
			(state) => state && start(state)
		);
		this.#ends.add(stop);
		return () => {
			this.#ends.delete(stop);
			stop();
		};
	}

	/** Reports a message that `map` could not take. */
	unreadable({ channel: channelId, topic }: RealtimeTopicEnvelope, error: unknown): void {
		const message = `A message on "${topic}" of realtime channel "${channelId}" could not be mapped.`;
		// What the app does about it may be state, which must not change while a template reads.
		queueMicrotask(() => this.owner.report({ source: 'parse', message, channelId, error }));
	}
}

/** Topics that were warned about, by who reads them. */
const warned = /* @__PURE__ */ new WeakMap<ChannelRef, Set<string>>();

/** In development: a topic that nobody requested from the server stays silent forever. */
function warnUnlessRequested(ref: ChannelRef, channelId: string, topic: string): void {
	const requested = untrack(() => ref.bus.find(channelId)?.topics(channelId) ?? []);
	const before = warned.get(ref) ?? new Set();
	// A channel that is not subscribed any more has none.
	if (requested.length === 0 || requested.includes(topic) || before.has(topic)) return;
	warned.set(ref, before.add(topic));
	const all = requested.map((one) => `"${one}"`).join(', ');
	const advice = topic === RUN_TOPIC ? '`run: true` to the subscription' : 'it to its `topics`';
	console.warn(
		`A hook reads topic "${topic}" of realtime channel "${channelId}", but the subscription requests only ${all}. Add ${advice}.`
	);
}
