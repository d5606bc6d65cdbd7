import { isPiece, type ChannelState, type Message } from '../state/channel.js';
import type { ChannelSource, MessageOf, Reactive, ReactiveCurrent, TopicOf } from '../types.js';
import { Gather, type GatherOptions } from './gather.js';
import type { RealtimeHookOptions } from './options.js';
import { read } from './ref.js';

/** A change of a row, as a message describes it. */
export interface RealtimeRowChange<TRow> {
	/** `delete` and `deleted` remove the row; anything else adds or replaces it. */
	operation: string;
	/** The row after the change; it may be missing for a deleted row. */
	row?: TRow | null;
	/** Key of the row, or an object that has it; needed if `row` is missing. */
	key?: unknown;
}

/** Type of the row in the messages of a topic, if they look like a change. */
type RowOf<TSource extends ChannelSource, TTopic extends TopicOf<TSource>> =
	MessageOf<TSource, TTopic> extends { data: { row?: infer TRow } } ? NonNullable<TRow> : never;

/** Options of `getRealtimeBusTopicRows`. */
export interface RealtimeRowsOptions<
	TSource extends ChannelSource,
	TTopic extends TopicOf<TSource>,
	TRow
> extends RealtimeHookOptions<TSource> {
	/** Name of the field that identifies a row. */
	key: keyof TRow & string;
	/**
	 * The rows to start from, as `load` returned them, or a function that returns them, to follow changes.
	 * @default none
	 */
	initial?: Reactive<readonly TRow[]>;
	/** Reads the change from a message. @default `message.data` */
	map?: (message: MessageOf<TSource, TTopic>) => RealtimeRowChange<TRow>;
	/**
	 * Shows changes before the server has confirmed them: returns new rows from the rows and the `pending`
	 * events of `getRealtimeBusSend`. An event leaves `pending` at the moment when the row that its handler
	 * emitted arrives, or when it is refused, so nothing flickers.
	 */
	optimistic?: (rows: readonly NoInfer<TRow>[]) => readonly NoInfer<TRow>[];
}

/** Rows that are kept up to date by the messages of a topic. */
export interface RealtimeTopicRows<TRow> extends ReactiveCurrent<readonly TRow[]> {
	/**
	 * The rows of `initial` in their order, then new ones, changed by `optimistic`. Without `optimistic`, a new
	 * array only when a row changed; frozen.
	 */
	readonly current: readonly TRow[];
	/** The row of `current` with this key. */
	get(key: unknown): TRow | undefined;
}

type AnyRow = Record<string, unknown>;

/** The public signature ties the options to the channel; the implementation does not need the type. */
interface AnyRowsOptions extends GatherOptions {
	key: string;
	initial?: Reactive<readonly AnyRow[]>;
	map?: (message: Message) => RealtimeRowChange<AnyRow>;
	optimistic?: (rows: readonly AnyRow[]) => readonly AnyRow[];
}

const NONE: readonly never[] = Object.freeze([]);

class Rows extends Gather implements RealtimeTopicRows<AnyRow> {
	readonly #key: string;
	readonly #initial: Reactive<readonly AnyRow[]>;
	readonly #map: (message: Message) => RealtimeRowChange<AnyRow>;
	readonly #optimistic: (rows: readonly AnyRow[]) => readonly AnyRow[];
	/**
	 * The last change of each row, `null` for a deleted one. Kept separately from the initial rows, because
	 * those may be loaded again while changes arrive.
	 */
	readonly #changes = new Map<unknown, AnyRow | null>();
	#base: readonly AnyRow[] = NONE;
	#snapshot: readonly AnyRow[] | undefined;

	constructor(channel: ChannelSource, topic: Reactive<string>, options: AnyRowsOptions) {
		super(channel, topic, options);
		this.#key = options.key;
		this.#initial = options.initial ?? NONE;
		this.#map = options.map ?? (({ data }) => data as RealtimeRowChange<AnyRow>);
		this.#optimistic = options.optimistic ?? ((rows) => rows);
		this.start();
	}

	get current(): readonly AnyRow[] {
		return this.#optimistic(this.#confirmed());
	}

	#confirmed(): readonly AnyRow[] {
		const base = read(this.#initial);
		if (!this.track()) return base;
		if (base !== this.#base || !this.#snapshot) {
			this.#base = base;
			this.#snapshot = Object.freeze(this.#merge(base));
		}
		return this.#snapshot;
	}

	get(key: unknown): AnyRow | undefined {
		return this.current.find((row) => row[this.#key] === key);
	}

	clear(): void {
		this.#changes.clear();
		this.#snapshot = undefined;
		this.changed();
	}

	protected take(message: Message): void {
		if (isPiece(message)) return;
		try {
			const { operation, row, key } = this.#map(message);
			const isDeleted = operation.startsWith('delete');
			if (!row && !isDeleted)
				throw new Error(`A row is missing that was changed by "${operation}".`);
			const id = row?.[this.#key] ?? (key as AnyRow | null)?.[this.#key] ?? key;
			this.#changes.set(id, isDeleted ? null : (row as AnyRow));
		} catch (error) {
			return this.ref.unreadable(message, error);
		}
		this.#snapshot = undefined;
		this.changed();
	}

	/** The rows that the app loads again contain the missed changes, and older changes must not undo them. */
	protected override attend(state: ChannelState): () => void {
		return state.onResync(() => this.clear());
	}

	#merge(base: readonly AnyRow[]): AnyRow[] {
		const added = new Map(this.#changes);
		const rows = base.flatMap((row) => {
			const id = row[this.#key];
			const change = added.get(id);
			added.delete(id);
			return change === null ? [] : [change ?? row];
		});
		return [...rows, ...[...added.values()].filter((row) => row !== null)];
	}
}

/**
 * Rows of a table that stay up to date: those that `load` returned, changed by the messages of a topic, such
 * as those of `postgresSource` (`{ operation, key, row }`). After a `resync` the changes are forgotten: load
 * the rows again, for example with `invalidateAll()`.
 *
 * @param channel A channel, its definition, or a function that returns one.
 * @param topic Name of the topic, or a function that returns one; changes start over when it changes.
 * @throws {RealtimeError} `NO_MANAGER` outside a manager and without a bus, `CHANNEL_NOT_ACTIVE` when
 * no manager around subscribes to the channel.
 * @example
 * ```ts
 * const orders = getRealtimeBusTopicRows(ordersChannel, 'order', {
 * 	key: 'id',
 * 	initial: () => data.orders
 * });
 * // {#each orders.current as order (order.id)}
 * ```
 * With pending events:
 * ```ts
 * const send = getRealtimeBusSend(createOrder);
 * const orders = getRealtimeBusTopicRows(ordersChannel, 'order', {
 * 	key: 'id',
 * 	initial: () => data.orders,
 * 	optimistic: (rows) => [...rows, ...send.pending.map(({ id, data }) => ({ id, ...data }))]
 * });
 * ```
 */
export function getRealtimeBusTopicRows<
	TChannel extends ChannelSource,
	TTopic extends TopicOf<TChannel>,
	TRow = RowOf<TChannel, TTopic>
>(
	channel: TChannel,
	topic: Reactive<TTopic>,
	options: RealtimeRowsOptions<TChannel, TTopic, TRow>
): RealtimeTopicRows<TRow> {
	return new Rows(channel, topic, options as never) as RealtimeTopicRows<unknown> as never;
}
