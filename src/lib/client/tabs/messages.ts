/** What the tabs of a group say to each other. All hear everything, also what they say themselves. */
import type { HealthPayload } from '../../protocol/health.js';
import type { StreamEvent } from '../transport/events.js';
import type { ChannelSink } from '../transport/transport.js';
import type { RealtimeClientFailureContext } from '../types.js';

/** A channel that a tab wants. */
export interface Want {
	/** The subscription, as `identify` writes it. */
	key: string;
	/** Position of the last frame that the tab has, or after which it begins; empty for whatever comes next. */
	cursor: string;
}

/** What happened to a channel on the leader's stream, or how it stands there. */
export interface News {
	/** The subscription, as `identify` writes it. */
	key: string;
	/**
	 * Answers a tab that wants the channel: position of its last frame, or where it begins. Without `health`,
	 * the stream cannot carry it.
	 */
	at?: string;
	health?: HealthPayload | undefined;
	frame?: StreamEvent;
	/** A message that could not be read: what `ChannelSink.receiveUnreadable` takes. */
	unreadable?: Parameters<ChannelSink['receiveUnreadable']>;
}

/** What a tab says to the leader; without more, a question whether it is there. */
export interface TabMessage {
	/** Names the tab. */
	tab: number;
	/** All that it wants from now on. */
	wants?: Want[];
	/** A channel in which it begins to follow what others followed before. */
	joins?: string;
}

/** What a leader says; without more, that it leads. */
export interface LeaderMessage extends Partial<News> {
	/** The leader with the highest term is the one to believe. */
	term: number;
	failure?: RealtimeClientFailureContext;
}

export type GroupMessage = TabMessage | LeaderMessage;
