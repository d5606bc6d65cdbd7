/** Options of the hooks. */
import type { ChannelParams } from '../../protocol/channel.js';
import type { RealtimeBus } from '../bus/bus.js';
import type { ChannelOf, ChannelSource, MessageOf, Reactive, TopicOf } from '../types.js';

/** Options common to all hooks. */
export interface RealtimeHookOptions<TSource extends ChannelSource = ChannelSource> {
	/** A builder's only argument, or a list of its arguments. */
	channelParams?: Reactive<ChannelParams<ChannelOf<TSource>>>;
	/** The bus to read from, for use outside a component. @default that of the manager around */
	bus?: RealtimeBus;
}

/** What `or` receives when a message could not be read. */
export interface RealtimeUnreadable<TOutput> {
	/** What parsing or `map` threw. */
	error: Error;
	/** JSON text of the frame. */
	raw: string;
	/** The value before it. */
	previous: TOutput | null;
}

/** Options of the hooks that give the newest value of a topic. */
export interface RealtimeTopicOptions<
	TSource extends ChannelSource = ChannelSource,
	TTopic extends TopicOf<TSource> = TopicOf<TSource>,
	TOutput = MessageOf<TSource, TTopic>,
	TInitial = TOutput | null,
	TFallback = TOutput | null
> extends RealtimeHookOptions<TSource> {
	/** What to make of a message; called once for each that is read. @default the message itself */
	map?: (message: MessageOf<TSource, TTopic>) => TOutput;
	/**
	 * The value to go on with when a message cannot be parsed, or `map` throws. Without it the previous
	 * value stays and the failure goes to `onFailure`.
	 */
	or?: (unreadable: RealtimeUnreadable<NoInfer<TOutput>>) => TFallback;
	/** The value until the first message, also while rendering on the server. @default null */
	initial?: TInitial | NoInfer<TOutput>;
}
