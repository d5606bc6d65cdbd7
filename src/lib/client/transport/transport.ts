import type { Frame } from '../../protocol/frame.js';
import type { HealthPayload } from '../../protocol/health.js';
import type { Subscriptions } from '../subscriptions.js';
import type { RealtimeClientFailureContext, RealtimeReconnectOptions } from '../types.js';

/** Where a transport puts the frames and the health of one channel. */
export interface ChannelSink {
	/** Position of the last frame, where the next request resumes; empty before the first one. */
	cursor: string;
	/** The last health that the server reported. */
	health: HealthPayload;
	/** Emits every frame that is not a duplicate. */
	readonly frames: { listen(listener: (frame: Frame) => void): () => void };
	/** Sets the health as far as the client knows it. */
	tell(status: HealthPayload['status'], detail?: string, more?: Partial<HealthPayload>): void;
	/**
	 * Handles a frame, unless it repeats an earlier one.
	 *
	 * @param speaks Whether it came from the stream that reports the channel's health.
	 */
	receive(frame: Frame, speaks: boolean): void;
	/**
	 * Handles a message that could not be read.
	 *
	 * @param topic Its topic. @default every topic of the channel, if the text does not show it
	 */
	receiveUnreadable(raw: string, error: unknown, topic?: string): void;
}

/** The owner of a transport: a bus. */
export interface TransportOwner {
	/** Where the frames of a wanted channel go. */
	state(channel: string): ChannelSink;
	/** Reports a failure to the app. */
	report(failure: RealtimeClientFailureContext): void;
	/** Says whether the transport is closed because the page is hidden or left. */
	hidden(isHidden: boolean): void;
}

/** The input of a transport. */
export interface TransportOptions {
	endpoint: string;
	subscriptions: Subscriptions;
	/** Whether to connect at all; `false` closes the stream. @default true */
	enabled?: boolean;
	reconnect?: RealtimeReconnectOptions | false;
	pauseOnHidden?: number | false;
	fetch?: typeof globalThis.fetch;
	/** Whether tabs share a stream, or the name of those that do. */
	shareTabs?: boolean | string;
}

/** Delivers the frames of the wanted channels to a bus. */
export interface Transport {
	/** Adapts to the current options. */
	update(options: TransportOptions): void;
	/** Connects again now, and also tries refused channels again. */
	reconnect(): void;
	/** Stops channels until subscriptions change or `reconnect` is called, and says why. */
	refuse(channels: readonly string[], detail: string, more?: Partial<HealthPayload>): void;
	/** Ends it for good. */
	close(): void;
}
