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
 * A hook's reference to its channel: finds the channel by the hook's arguments and follows them, until the
 * surrounding component (or `$effect.root`) ends.
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
	 * @throws {RealtimeError} `NO_MANAGER` outside a manager and without a bus, `CHANNEL_NOT_ACTIVE` when no
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

	/** The same for a state that `follow` passed. */
	topicOf(state: ChannelState, name: string): TopicSlot {
		if (DEV) warnUnlessRequested(this, state.channelId, name);
		return state.topic(name);
	}

	/** Name and topics of the channel that the arguments name now. */
	get channel(): ResolvedChannel {
		const source = this.#source;
		// A channel definition is also a function, but has topics.
		const channel = typeof source === 'function' && !('topics' in source) ? source() : source;
		return resolveChannel(channel as ChannelLike, read(this.#params));
	}

	/** @throws {RealtimeError} `CHANNEL_NOT_ACTIVE` when the arguments now name a channel that is not active. */
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
		// An unsubscribed channel stays readable for hooks that had it.
		return this.#state as ChannelState;
	}

	/** The bus that carries the channel: the nearest one that does. */
	get owner(): RealtimeBus {
		void this.state;
		return this.#owner as RealtimeBus;
	}

	/**
	 * Runs `start` for the channel, and again when the channel changes, until the returned function is called or
	 * the component ends.
	 */
	follow(start: (state: ChannelState) => () => void): () => void {
		if (this.#ended) return () => {};
		const stop = follow(
			() => {
				try {
					return this.state;
				} catch {
					// Reading throws the error; here nobody could catch it.
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

	/** Reports a message for which `map` threw. */
	unreadable({ channel: channelId, topic }: RealtimeTopicEnvelope, error: unknown): void {
		const message = `A message on "${topic}" of realtime channel "${channelId}" could not be mapped.`;
		// The app may change state in response, which is not allowed while a template reads.
		queueMicrotask(() => this.owner.report({ source: 'parse', message, channelId, error }));
	}
}

/** Topics that were warned about, by reader. */
const warned = /* @__PURE__ */ new WeakMap<ChannelRef, Set<string>>();

/** Warns in development: a topic that was not requested from the server stays silent for ever. */
function warnUnlessRequested(ref: ChannelRef, channelId: string, topic: string): void {
	const requested = untrack(() => ref.bus.find(channelId)?.topics(channelId) ?? []);
	const before = warned.get(ref) ?? new Set();
	// An unsubscribed channel has none.
	if (requested.length === 0 || requested.includes(topic) || before.has(topic)) return;
	warned.set(ref, before.add(topic));
	const all = requested.map((one) => `"${one}"`).join(', ');
	const advice = topic === RUN_TOPIC ? '`run: true` to the subscription' : 'it to its `topics`';
	console.warn(
		`A hook reads topic "${topic}" of realtime channel "${channelId}", but the subscription requests only ${all}. Add ${advice}.`
	);
}
