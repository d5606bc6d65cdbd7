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

/** What the context of the procedures must have. */
export interface RealtimeTrpcContext {
	/** The request, as SvelteKit gives it to a route: `createContext: () => ({ event })`. */
	event: RequestEvent;
}

/** Channels of an endpoint, by the keys of its registry. */
type Channels = Record<string, ChannelLike>;

/** Events of an endpoint, by their keys. */
type Events = Record<string, EventDefinition>;

/** Topics of some channels, and that of runs. */
type Topic<TChannels extends Channels> =
	{ [K in keyof TChannels]: TopicKey<TChannels[K]> }[keyof TChannels] | '$run';

/** What `sendEvent` takes: one of the endpoint's events. */
export type RealtimeTrpcEvent<TEvents extends Events = Events> = {
	[K in keyof TEvents]: {
		/** Name of the event. */
		name: TEvents[K]['name'];
		/** What the event's schema takes, as JSON. */
		payload: EventInput<TEvents[K]>;
		/**
		 * The same whenever the same event is sent again: it then runs once. Messages that its handler emits
		 * carry it. @default a random one
		 */
		clientEventId?: string;
	};
}[keyof TEvents];

/** What `sendEvent` answers. */
export interface RealtimeTrpcSent<TEvents extends Events = Events> {
	/** `done`: its handler ran; `queued`: Inngest has it. */
	status: 'done' | 'queued';
	/** What the handler returned. */
	result?: { [K in keyof TEvents]: EventResult<TEvents[K]> }[keyof TEvents];
	/** The messages that the handler emitted, with their positions. */
	emittedEvents?: EmittedMessage[];
}

/** What `subscribe` takes. */
export interface RealtimeTrpcSubscription<TChannels extends Channels = Channels> {
	/** The name of the channel. */
	channel: string;
	/** @default all topics of the channel */
	topics?: readonly Topic<TChannels>[];
	/** What `authorize` and `view` are given. */
	params?: RealtimeRequestParams;
	/**
	 * Cursor of the last item that arrived, or one that `fetchHistory` or `realtime.cursor()` returned; what
	 * followed comes first. The link sets it when it comes back.
	 */
	lastEventId?: string | null;
}

/** What `subscribe` yields: messages, and a `resync` where messages may be missing. */
export type RealtimeTrpcItem<TChannels extends Channels = Channels> = {
	[K in keyof TChannels]: RealtimeItem<TChannels[K], TopicKey<TChannels[K]> | '$run'>;
}[keyof TChannels];

/** An item as it arrives: the link sends the `id` of the last one back when it resumes. */
export interface RealtimeTrpcTracked<TItem> {
	id: string;
	data: TItem;
}

/** What `fetchHistory` takes. */
export interface RealtimeTrpcHistoryInput<TChannels extends Channels = Channels> {
	/** The name of the channel. */
	channel: string;
	/** @default all topics of the channel */
	topics?: readonly Topic<TChannels>[];
	/** What `authorize` and `view` are given. */
	params?: RealtimeRequestParams;
	/** Only messages after this cursor, or from this moment on: a date, or its text in ISO 8601. */
	since?: string | Date;
	/** Only messages before this cursor. */
	before?: string;
	/** Most messages: with `since` the first, else the newest. @default 100 */
	limit?: number;
}

/** What `fetchHistory` answers. */
export type RealtimeTrpcHistory<TChannels extends Channels = Channels> = RealtimeHistory<
	{
		[K in keyof TChannels]: RealtimeMessage<TChannels[K], TopicKey<TChannels[K]> | '$run'>;
	}[keyof TChannels]
>;
