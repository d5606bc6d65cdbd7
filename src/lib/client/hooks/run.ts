import { RUN_TOPIC } from '../../protocol/constants.js';
import type { RealtimeTopicEnvelope } from '../../protocol/types.js';
import { Signal } from '../state/signal.js';
import type { ChannelLike, ChannelParams } from '../../protocol/channel.js';
import type { ChannelOf, ChannelSource, Reactive, ReactiveCurrent } from '../types.js';
import type { RealtimeHookOptions } from './options.js';
import type { GatherOptions } from './gather.js';
import { ChannelRef } from './ref.js';

/** States of a run. */
export type RealtimeRunStatus = 'unknown' | 'running' | 'completed' | 'failed' | 'cancelled';

/** The state of a run. */
export interface RealtimeRun<TResult = unknown> {
	readonly status: RealtimeRunStatus;
	/** The result of the run; `undefined` before it has ended. */
	readonly result: TResult | undefined;
	/** Id of the run, once a message named it. */
	readonly runId: string | undefined;
}

/** State of a run, as a whole in `current` and in separate properties. */
export interface RealtimeRunState<TResult = unknown>
	extends RealtimeRun<TResult>, ReactiveCurrent<RealtimeRun<TResult>> {
	/** Goes back to `unknown`. */
	reset(): void;
}

/** Options of `getRealtimeBusRun`. */
export interface RealtimeRunOptions<
	TSource extends ChannelSource = ChannelSource
> extends RealtimeHookOptions<TSource> {
	/**
	 * Whether to stop reading the channel once its run has ended, until its subscription changes or
	 * `reconnect()` is called. Use it for a channel that carries a single run.
	 * @default false
	 */
	autoCloseOnTerminal?: boolean;
}

const UNKNOWN: RealtimeRun<never> = Object.freeze({
	status: 'unknown',
	result: undefined,
	runId: undefined
});

/** Words for states that publishers of run messages use. */
const STATUSES: Record<string, RealtimeRunStatus> = {
	running: 'running',
	in_progress: 'running',
	completed: 'completed',
	complete: 'completed',
	succeeded: 'completed',
	success: 'completed',
	failed: 'failed',
	error: 'failed',
	cancelled: 'cancelled',
	canceled: 'cancelled'
};

/** The run after a message. */
function advance(run: RealtimeRun, message: RealtimeTopicEnvelope): RealtimeRun {
	const { kind, topic, data, runId = run.runId } = message;
	// Later messages of a finished run change nothing; messages of another run start over with that run.
	const base = runId === run.runId ? run : { ...UNKNOWN, runId };
	if (kind !== 'run' && topic !== RUN_TOPIC) {
		return base.status === 'unknown' ? { ...base, runId, status: 'running' } : base;
	}
	const fields = (typeof data === 'object' && data !== null ? data : {}) as Record<string, unknown>;
	const reported = fields.runStatus ?? fields.status ?? fields.state;
	const status =
		typeof reported === 'string' ? (STATUSES[reported.toLowerCase()] ?? base.status) : 'completed';
	const result =
		'result' in fields
			? fields.result
			: status !== 'completed'
				? base.result
				: 'output' in fields
					? fields.output
					: reported === undefined
						? data
						: base.result;
	return { status, result, runId };
}

class RunState implements RealtimeRunState {
	readonly #signal: Signal;
	readonly #ref: ChannelRef;
	#run: RealtimeRun = UNKNOWN;
	#channelId: string | undefined;

	constructor(
		channel: ChannelSource,
		options: GatherOptions & { autoCloseOnTerminal?: boolean } = {}
	) {
		const ref = new ChannelRef(channel, options.channelParams, options.bus);
		this.#ref = ref;
		this.#signal = new Signal(
			(error) => console.error(error),
			() => ref.owner.bufferIntervalMs
		);
		ref.follow((state) => {
			if (this.#channelId !== state.channelId) this.reset();
			this.#channelId = state.channelId;
			// Without it we never learn that a run has ended.
			ref.topicOf(state, RUN_TOPIC);
			return state.frames.listen((frame) => {
				if (frame.event !== 'message') return;
				const run = advance(this.#run, frame.data);
				if (run === this.#run) return;
				this.#set(Object.freeze(run));
				const ended = run.status !== 'unknown' && run.status !== 'running';
				if (ended && options.autoCloseOnTerminal) {
					ref.owner.finish(state.channelId, `Closed: the run is ${run.status}.`);
				}
			});
		});
	}

	get current(): RealtimeRun {
		const { channelId } = this.#ref.state;
		this.#signal.track();
		return channelId === this.#channelId ? this.#run : UNKNOWN;
	}

	get status(): RealtimeRunStatus {
		return this.current.status;
	}

	get result(): unknown {
		return this.current.result;
	}

	get runId(): string | undefined {
		return this.current.runId;
	}

	reset(): void {
		this.#set(UNKNOWN);
	}

	#set(run: RealtimeRun): void {
		this.#run = run;
		this.#signal.emit();
	}
}

/**
 * Parameters of a channel's builder; any value if `TResult` is given, because `TChannel` is then not
 * inferred.
 */
type ParamsOf<TChannel extends ChannelSource> =
	ChannelLike extends ChannelOf<TChannel> ? unknown : ChannelParams<ChannelOf<TChannel>>;

/**
 * The state of the run that publishes on a channel. Its lifecycle comes on the topic `$run`: the subscription
 * requests it with `run: true`, the endpoint's registry entry allows it with `run: true`, and your Inngest
 * server must publish it.
 *
 * Two states are inferred. `running`: another message came on the channel before any lifecycle message.
 * `completed`: a lifecycle message without a state came; its data is then the result. A message of another
 * run starts over with that run. `failed` and `cancelled` are never inferred, and a connection alone says
 * nothing about a run.
 *
 * @param channel A channel, its definition, or a function that returns one.
 * @throws {RealtimeError} `NO_MANAGER` outside a manager and without a bus, `CHANNEL_NOT_ACTIVE` when
 * no manager around subscribes to the channel.
 * @example
 * ```ts
 * const run = getRealtimeBusRun<{ total: number }>(orderChannel, { channelParams: orderId });
 * const total = $derived(run.status === 'completed' ? run.result?.total : undefined);
 * ```
 */
export function getRealtimeBusRun<
	TResult = unknown,
	TChannel extends ChannelSource = ChannelSource
>(
	channel: TChannel,
	options?: Omit<RealtimeRunOptions, 'channelParams'> & {
		channelParams?: Reactive<ParamsOf<TChannel>>;
	}
): RealtimeRunState<TResult> {
	return new RunState(channel, options) as RealtimeRunState<TResult>;
}
