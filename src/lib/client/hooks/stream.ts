import { RealtimeError } from '../../protocol/errors.js';
import type { ChannelState, Message } from '../state/channel.js';
import type { ChannelSource, Reactive, ReactiveCurrent, TopicOf } from '../types.js';
import type { RealtimeHookOptions } from './options.js';
import { Gather, type GatherOptions } from './gather.js';

/**
 * One data stream, as far as it has arrived. Iterating over it yields its pieces from the first one on and
 * waits for the next ones. It throws a `RealtimeError` (`CLOSED`) if pieces may be missing.
 */
export interface RealtimeDataStream extends AsyncIterable<string> {
	readonly streamId: string;
	/** The run that publishes it. */
	readonly runId: string | undefined;
	/** All pieces joined. */
	readonly text: string;
	/** The pieces as they arrived. Frozen. */
	readonly chunks: readonly string[];
	/** Whether it has ended. */
	readonly done: boolean;
	/**
	 * Whether pieces may be missing: its start did not arrive, or a `resync` came while it was open. Later
	 * pieces are still added.
	 */
	readonly interrupted: boolean;
}

/** Options of `getRealtimeBusTopicStream`. */
export interface RealtimeStreamOptions<
	TSource extends ChannelSource = ChannelSource
> extends RealtimeHookOptions<TSource> {
	/** How many data streams to keep: the newest ones, and all that still grow. `null` keeps all. @default 10 */
	limit?: number | null;
	/**
	 * Minimum time, in milliseconds, between two updates of the components that read. @default the manager's,
	 * otherwise once per frame of the screen
	 */
	bufferIntervalMs?: number;
}

/** The data streams of a topic. */
export interface RealtimeTopicStream
	extends ReactiveCurrent<RealtimeDataStream | null>, AsyncIterable<string> {
	/** The newest data stream; `null` before the first. A new object each time something arrives. */
	readonly current: RealtimeDataStream | null;
	/** A data stream by its id, as long as it is kept. */
	get(streamId: string): RealtimeDataStream | undefined;
	/** All that are kept, oldest first. */
	readonly all: readonly RealtimeDataStream[];
	/** Forgets all of them. */
	clear(): void;
}

/** A data stream that still grows. The app gets snapshots of it. */
class Growing {
	readonly streamId: string;
	readonly runId: string | undefined;
	readonly #pieces: string[] = [];
	#text = '';
	#done = false;
	#interrupted: boolean;
	#ended = false;
	#snapshot: RealtimeDataStream | undefined;
	#waiting: (() => void)[] = [];

	constructor(streamId: string, runId: string | undefined, interrupted: boolean) {
		this.streamId = streamId;
		this.runId = runId;
		this.#interrupted = interrupted;
	}

	get snapshot(): RealtimeDataStream {
		return (this.#snapshot ??= Object.freeze({
			streamId: this.streamId,
			runId: this.runId,
			text: this.#text,
			chunks: Object.freeze([...this.#pieces]),
			done: this.#done,
			interrupted: this.#interrupted,
			[Symbol.asyncIterator]: () => this.pieces()
		}));
	}

	add(piece: string): void {
		this.#pieces.push(piece);
		this.#text += piece;
		this.#changed();
	}

	finish(): void {
		this.#done = true;
		this.#changed();
	}

	interrupt(): void {
		if (this.#done) return;
		this.#interrupted = true;
		this.#changed();
	}

	/** Nothing more will come, for any reason. */
	end(): void {
		this.#ended = true;
		this.#changed();
	}

	async *pieces(): AsyncGenerator<string, void, undefined> {
		for (let next = 0; ;) {
			while (next < this.#pieces.length) yield this.#pieces[next++]!;
			if (this.#interrupted) {
				throw new RealtimeError(
					'CLOSED',
					`Pieces of the data stream "${this.streamId}" may be missing: the server could not replay them. Reload the whole text.`
				);
			}
			if (this.#done || this.#ended) return;
			await new Promise<void>((resolve) => this.#waiting.push(resolve));
		}
	}

	#changed(): void {
		this.#snapshot = undefined;
		for (const wake of this.#waiting.splice(0)) wake();
	}
}

class StreamList extends Gather implements RealtimeTopicStream {
	readonly #limit: number;
	readonly #streams = new Map<string, Growing>();
	/** Iterators that wait for a first data stream. */
	#waiting: ((stream: Growing | undefined) => void)[] = [];
	#ended = false;

	constructor(
		channel: ChannelSource,
		topic: Reactive<string>,
		options: GatherOptions & { limit?: number | null } = {}
	) {
		super(channel, topic, options);
		this.#limit = options.limit === null ? Infinity : Math.max(1, options.limit ?? 10);
		this.start();
	}

	get current(): RealtimeDataStream | null {
		return this.all.at(-1) ?? null;
	}

	get all(): readonly RealtimeDataStream[] {
		if (!this.track()) return [];
		return [...this.#streams.values()].map(({ snapshot }) => snapshot);
	}

	get(streamId: string): RealtimeDataStream | undefined {
		return this.track() ? this.#streams.get(streamId)?.snapshot : undefined;
	}

	clear(): void {
		for (const stream of this.#streams.values()) stream.end();
		this.#streams.clear();
		this.changed();
	}

	async *[Symbol.asyncIterator](): AsyncGenerator<string, void, undefined> {
		const newest =
			[...this.#streams.values()].at(-1) ??
			(this.#ended
				? undefined
				: await new Promise<Growing | undefined>((resolve) => this.#waiting.push(resolve)));
		if (newest) yield* newest.pieces();
	}

	protected take({ kind, streamId, runId, data }: Message): void {
		if (!streamId) return;
		const known = this.#streams.get(streamId);
		if (kind === 'datastream-start') {
			if (!known) this.#begin(new Growing(streamId, runId, false));
		} else if (kind === 'chunk') {
			(known ?? this.#begin(new Growing(streamId, runId, true))).add(String(data));
		} else if (kind === 'datastream-end') known?.finish();
		else return;
		this.changed();
	}

	protected override attend(state: ChannelState): () => void {
		this.#ended = false;
		const stop = state.onResync(() => {
			for (const stream of this.#streams.values()) stream.interrupt();
			this.changed();
		});
		return () => {
			stop();
			this.#ended = true;
			for (const stream of this.#streams.values()) stream.end();
			this.#wake(undefined);
		};
	}

	#begin(stream: Growing): Growing {
		this.#streams.set(stream.streamId, stream);
		for (const [oldest, { snapshot }] of this.#streams) {
			if (this.#streams.size <= this.#limit) break;
			// A stream that still grows stays; otherwise its next piece would look like a stream without a start.
			if (snapshot.done || snapshot.interrupted) this.#streams.delete(oldest);
		}
		this.#wake(stream);
		return stream;
	}

	#wake(stream: Growing | undefined): void {
		for (const resolve of this.#waiting.splice(0)) resolve(stream);
	}
}

/**
 * The data streams of a topic (a `ReadableStream` published by a function, for example the tokens of a
 * language model) since the hook was called: the newest as `current`, earlier ones by id. Iterating it
 * yields the pieces of the newest data stream, or of the first to come.
 *
 * A reconnect neither loses nor repeats pieces; if the server could not replay some, the stream says so
 * (`interrupted`). Inngest has two limits: it cuts pieces at 1,024 bytes, and a character of several bytes at
 * the cut becomes U+FFFD; and it ends a data stream after 1,000 pieces.
 *
 * @param channel A channel, its definition, or a function that returns one.
 * @param topic Name of the topic, or a function that returns one; everything starts over when it changes.
 * @throws {RealtimeError} `NO_MANAGER` outside a manager and without a bus, `CHANNEL_NOT_ACTIVE` when
 * no manager around subscribes to the channel.
 * @example
 * ```ts
 * const answer = getRealtimeBusTopicStream(chatChannel, 'tokens', { channelParams: chatId });
 * const text = $derived(answer.current?.text ?? '');
 * ```
 */
export function getRealtimeBusTopicStream<
	TChannel extends ChannelSource,
	TTopic extends TopicOf<TChannel>
>(
	channel: TChannel,
	topic: Reactive<TTopic>,
	options?: RealtimeStreamOptions<TChannel>
): RealtimeTopicStream {
	return new StreamList(channel, topic, options);
}
