import type { RequestEvent } from '@sveltejs/kit';
import type { ChannelLike } from '../protocol/channel.js';
import type {
	EmittedMessage,
	EventDefinition,
	EventInput,
	EventResult
} from '../protocol/event.js';
import type { RealtimeRequestParams } from '../protocol/request.js';
import type { TopicKey } from '../protocol/types.js';
import type { RealtimeHistory, RealtimeItem, RealtimeMessage } from '../server/index.js';

/** The fields that the context of the procedures must have. */
export interface RealtimeTrpcContext {
	/** SvelteKit's request event: `createContext: () => ({ event })`. */
	event: RequestEvent;
}

/** Channels of an endpoint, by the keys of its registry. */
type Channels = Record<string, ChannelLike>;

/** Events of an endpoint, by their keys. */
type Events = Record<string, EventDefinition>;

/** Topics of some channels, and `$run`. */
type Topic<TChannels extends Channels> =
	{ [K in keyof TChannels]: TopicKey<TChannels[K]> }[keyof TChannels] | '$run';

/** Input of `sendEvent`: one of the endpoint's events. */
export type RealtimeTrpcEvent<TEvents extends Events = Events> = {
	[K in keyof TEvents]: {
		/** Name of the event. */
		name: TEvents[K]['name'];
		/** Input of the event's schema, as JSON. */
		payload: EventInput<TEvents[K]>;
		/**
		 * Use the same id when you send the same event again, so that it runs once. Messages that its handler emits
		 * carry the id. @default a random one
		 */
		clientEventId?: string;
	};
}[keyof TEvents];

/** Result of `sendEvent`. */
export interface RealtimeTrpcSent<TEvents extends Events = Events> {
	/** `done`: its handler ran; `queued`: it was sent to Inngest. */
	status: 'done' | 'queued';
	/** The result of the handler. */
	result?: { [K in keyof TEvents]: EventResult<TEvents[K]> }[keyof TEvents];
	/** The messages that the handler emitted, with their positions. */
	emittedEvents?: EmittedMessage[];
}

/** Input of `subscribe`. */
export interface RealtimeTrpcSubscription<TChannels extends Channels = Channels> {
	/** The name of the channel. */
	channel: string;
	/** @default all topics of the channel */
	topics?: readonly Topic<TChannels>[];
	/** Parameters for `authorize` and `view`. */
	params?: RealtimeRequestParams;
	/**
	 * Cursor of the last item that arrived, or one from `fetchHistory` or `realtime.cursor()`; later items come
	 * first. The link sets it when it comes back.
	 */
	lastEventId?: string | null;
}

/** Items of `subscribe`: messages, and a `resync` if messages may be missing. */
export type RealtimeTrpcItem<TChannels extends Channels = Channels> = {
	[K in keyof TChannels]: RealtimeItem<TChannels[K], TopicKey<TChannels[K]> | '$run'>;
}[keyof TChannels];

/** An item as it arrives. When the link resumes, it sends back the `id` of the last one. */
export interface RealtimeTrpcTracked<TItem> {
	id: string;
	data: TItem;
}

/** Input of `fetchHistory`. */
export interface RealtimeTrpcHistoryInput<TChannels extends Channels = Channels> {
	/** The name of the channel. */
	channel: string;
	/** @default all topics of the channel */
	topics?: readonly Topic<TChannels>[];
	/** Parameters for `authorize` and `view`. */
	params?: RealtimeRequestParams;
	/** Only messages after this cursor, or from this date on: a `Date`, or its text in ISO 8601. */
	since?: string | Date;
	/** Only messages before this cursor. */
	before?: string;
	/** Most messages: the first ones with `since`, otherwise the newest. @default 100 */
	limit?: number;
}

/** Result of `fetchHistory`. */
export type RealtimeTrpcHistory<TChannels extends Channels = Channels> = RealtimeHistory<
	{
		[K in keyof TChannels]: RealtimeMessage<TChannels[K], TopicKey<TChannels[K]> | '$run'>;
	}[keyof TChannels]
>;
