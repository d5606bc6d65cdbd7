/** Options of the hooks. */
import type { ChannelParams } from '../../protocol/channel.js';
import type { RealtimeBus } from '../bus/bus.js';
import type { ChannelOf, ChannelSource, MessageOf, Reactive, TopicOf } from '../types.js';

/** Options common to all hooks. */
export interface RealtimeHookOptions<TSource extends ChannelSource = ChannelSource> {
	/** A builder's only argument, or a list of its arguments. */
	channelParams?: Reactive<ChannelParams<ChannelOf<TSource>>>;
	/** The bus to read from, for use outside a component. @default the bus of the surrounding manager */
	bus?: RealtimeBus;
}

/** The argument of `or`, which is called when a message could not be read. */
export interface RealtimeUnreadable<TOutput> {
	/** The error of parsing or of `map`. */
	error: Error;
	/** JSON text of the frame. */
	raw: string;
	/** The value before it. */
	previous: TOutput | null;
}

/** Options of the hooks that return the newest value of a topic. */
export interface RealtimeTopicOptions<
	TSource extends ChannelSource = ChannelSource,
	TTopic extends TopicOf<TSource> = TopicOf<TSource>,
	TOutput = MessageOf<TSource, TTopic>,
	TInitial = TOutput | null,
	TFallback = TOutput | null
> extends RealtimeHookOptions<TSource> {
	/**
	 * Converts a message to the value; called once for each message that is read. @default the message itself
	 */
	map?: (message: MessageOf<TSource, TTopic>) => TOutput;
	/**
	 * Returns the value to use when a message cannot be parsed, or `map` throws. Without it, the previous value
	 * stays and the failure goes to `onFailure`.
	 */
	or?: (unreadable: RealtimeUnreadable<NoInfer<TOutput>>) => TFallback;
	/** The value before the first message, and while rendering on the server. @default null */
	initial?: TInitial | NoInfer<TOutput>;
}
