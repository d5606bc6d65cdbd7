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

/** What `or` is given when a message could not be read. */
export interface RealtimeUnreadable<TOutput> {
	/** What parsing or `map` threw. */
	error: Error;
	/** JSON text of the frame. */
	raw: string;
	/** Value before. */
	previous: TOutput | null;
}

/** Options of the hooks that give a topic's newest value. */
export interface RealtimeTopicOptions<
	TSource extends ChannelSource = ChannelSource,
	TTopic extends TopicOf<TSource> = TopicOf<TSource>,
	TOutput = MessageOf<TSource, TTopic>
> extends RealtimeHookOptions<TSource> {
	/** What to make of a message; called once for each that is read. @default the message itself */
	map?: (message: MessageOf<TSource, TTopic>) => TOutput;
	/**
	 * Value to go on with when a message cannot be parsed, or `map` throws. Without it the previous
	 * value stays and the failure goes to `onFailure`.
	 */
	or?: (unreadable: RealtimeUnreadable<TOutput>) => TOutput | null;
	/** Value until the first message, also while rendering on the server. @default null */
	initial?: TOutput | null;
}
