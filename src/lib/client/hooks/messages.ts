import { isPiece, type Message } from '../state/channel.js';
import type { ChannelSource, MessageOf, Reactive, ReactiveCurrent, TopicOf } from '../types.js';
import type { RealtimeHookOptions } from './options.js';
import { Gather, type GatherOptions } from './gather.js';

/** Options of `getRealtimeBusTopicMessages`. */
export interface RealtimeMessagesOptions<
	TSource extends ChannelSource = ChannelSource,
	TTopic extends TopicOf<TSource> = TopicOf<TSource>,
	TOutput = MessageOf<TSource, TTopic>
> extends RealtimeHookOptions<TSource> {
	/**
	 * What to keep of a message; called once for each. To show the list, keep the `cursor` as its key.
	 * @default the message itself
	 */
	map?: (message: MessageOf<TSource, TTopic>) => TOutput;
	/** How many of the newest messages to keep; `null` keeps all. @default 100 */
	limit?: number | null;
	/**
	 * Minimum time, in milliseconds, between two updates of the components that read. @default the manager's,
	 * otherwise once per frame of the screen
	 */
	bufferIntervalMs?: number;
}

/** The messages of a topic, oldest first. */
export interface RealtimeTopicMessages<T> extends ReactiveCurrent<readonly T[]> {
	/** A new, frozen array each time messages arrive. */
	readonly current: readonly T[];
	/** Empties the list. */
	clear(): void;
}

/** The public signature ties the options to the channel; the implementation does not need the type. */
interface AnyMessagesOptions<T> extends GatherOptions {
	map?: (message: Message) => T;
	limit?: number | null;
}

const EMPTY: readonly never[] = Object.freeze([]);

class MessageList<T> extends Gather implements RealtimeTopicMessages<T> {
	readonly #map: (message: Message) => T;
	readonly #limit: number;
	#items: T[] = [];
	#snapshot: readonly T[] | undefined = EMPTY;

	constructor(
		channel: ChannelSource,
		topic: Reactive<string>,
		options: AnyMessagesOptions<T> = {}
	) {
		super(channel, topic, options);
		this.#map = options.map ?? ((message) => message as T);
		this.#limit = options.limit === null ? Infinity : Math.max(0, options.limit ?? 100);
		this.start();
	}

	get current(): readonly T[] {
		if (!this.track()) return EMPTY;
		if (!this.#snapshot) {
			this.#trim();
			this.#snapshot = Object.freeze([...this.#items]);
		}
		return this.#snapshot;
	}

	clear(): void {
		this.#items = [];
		this.#snapshot = EMPTY;
		this.changed();
	}

	protected take(message: Message): void {
		if (isPiece(message)) return;
		let item: T;
		try {
			item = this.#map(message);
		} catch (error) {
			this.ref.unreadable(message, error);
			return;
		}
		this.#items.push(item);
		// Cutting only once per `limit` messages keeps the cost of each message constant.
		if (this.#items.length >= 2 * this.#limit) this.#trim();
		this.#snapshot = undefined;
		this.changed();
	}

	#trim(): void {
		const excess = this.#items.length - this.#limit;
		if (excess > 0) this.#items.splice(0, excess);
	}
}

/**
 * The messages of a topic since the hook was called, oldest first, as `current`: a frozen list of at most
 * `limit`. Components that read it update at most once per frame. It leaves out data streams; use
 * `getRealtimeBusTopicStream` for those.
 *
 * @param channel A channel, its definition, or a function that returns one.
 * @param topic Name of the topic, or a function that returns one; the list starts over when it changes.
 * @throws {RealtimeError} `NO_MANAGER` outside a manager and without a bus, `CHANNEL_NOT_ACTIVE` when
 * no manager around subscribes to the channel.
 * @example
 * ```ts
 * const log = getRealtimeBusTopicMessages(demoChannel, 'message', {
 * 	map: ({ cursor, data }) => ({ cursor, text: data.message }),
 * 	limit: 20
 * });
 * // {#each log.current as { cursor, text } (cursor)}
 * const count = $derived(log.current.length);
 * ```
 */
export function getRealtimeBusTopicMessages<
	TChannel extends ChannelSource,
	TTopic extends TopicOf<TChannel>,
	TOutput = MessageOf<TChannel, TTopic>
>(
	channel: TChannel,
	topic: Reactive<TTopic>,
	options?: RealtimeMessagesOptions<TChannel, TTopic, TOutput>
): RealtimeTopicMessages<TOutput> {
	return new MessageList(channel, topic, options as AnyMessagesOptions<TOutput>);
}
