import type { Frame } from '../../protocol/frame.js';
import type { HealthPayload } from '../../protocol/health.js';
import type { Subscriptions } from '../subscriptions.js';
import type { RealtimeClientFailureContext, RealtimeReconnectOptions } from '../types.js';

/** What a transport fills: all that is known about one channel. */
export interface ChannelSink {
	/** Position of the last frame, where the next request resumes; empty before the first one. */
	cursor: string;
	/** Health as the server reported it last. */
	health: HealthPayload;
	/** Emits every frame that is not a duplicate. */
	readonly frames: { listen(listener: (frame: Frame) => void): () => void };
	/** Sets what this side knows about the channel's health. */
	tell(status: HealthPayload['status'], detail?: string, more?: Partial<HealthPayload>): void;
	/**
	 * Takes a frame in, unless it repeats an earlier one.
	 *
	 * @param speaks Whether it came from the stream that reports the channel's health.
	 */
	receive(frame: Frame, speaks: boolean): void;
	/**
	 * Takes in a message that could not be read.
	 *
	 * @param topic Its topic; every topic of the channel when the text does not show it.
	 */
	receiveUnreadable(raw: string, error: unknown, topic?: string): void;
}

/** Who a transport works for: a bus. */
export interface TransportOwner {
	/** Where the frames of a wanted channel go. */
	state(channel: string): ChannelSink;
	/** Reports a failure to the app. */
	report(failure: RealtimeClientFailureContext): void;
	/** Says whether the transport is closed because the page is hidden or left. */
	hidden(isHidden: boolean): void;
}

/** What a transport is asked for. */
export interface TransportOptions {
	endpoint: string;
	subscriptions: Subscriptions;
	/** Whether to be connected at all; `false` closes the stream. @default true */
	enabled?: boolean;
	reconnect?: RealtimeReconnectOptions | false;
	pauseOnHidden?: number | false;
	fetch?: typeof globalThis.fetch;
	/** Whether tabs share a stream, or with which of them. */
	shareTabs?: boolean | string;
}

/** What brings the frames of the wanted channels to a bus. */
export interface Transport {
	/** Adapts to what is wanted now. */
	update(options: TransportOptions): void;
	/** Connects again now, and tries what was refused as well. */
	reconnect(): void;
	/** Leaves channels alone until subscriptions change or `reconnect` is called, and says why. */
	refuse(channels: readonly string[], detail: string, more?: Partial<HealthPayload>): void;
	/** Ends it for good. */
	close(): void;
}
