/** The messages between the tabs of a group. Every tab gets all of them, including its own. */
import type { HealthPayload } from '../../protocol/health.js';
import type { StreamEvent } from '../transport/events.js';
import type { ChannelSink } from '../transport/transport.js';
import type { RealtimeClientFailureContext } from '../types.js';

/** A channel that a tab wants. */
export interface Want {
	/** The subscription, as `identify` writes it. */
	key: string;
	/**
	 * Position of the last frame that the tab has, or after which it starts; empty to start with the next frame.
	 */
	cursor: string;
}

/** What happened to a channel on the leader's stream, or its state there. */
export interface News {
	/** The subscription, as `identify` writes it. */
	key: string;
	/**
	 * Answers a tab that wants the channel: position of its last frame, or where it starts. Without `health`,
	 * the stream cannot carry it.
	 */
	at?: string;
	health?: HealthPayload | undefined;
	frame?: StreamEvent;
	/** A message that could not be read: the arguments of `ChannelSink.receiveUnreadable`. */
	unreadable?: Parameters<ChannelSink['receiveUnreadable']>;
}

/** A message of a tab to the leader. Without further fields it asks whether the leader is there. */
export interface TabMessage {
	/** Names the tab. */
	tab: number;
	/** All channels that it wants from now on. */
	wants?: Want[];
	/** A channel that other tabs follow already and that it starts to follow. */
	joins?: string;
}

/** A message of the leader. Without further fields it says that the tab leads. */
export interface LeaderMessage extends Partial<News> {
	/** Only the leader with the highest term counts. */
	term: number;
	failure?: RealtimeClientFailureContext;
}

export type GroupMessage = TabMessage | LeaderMessage;
