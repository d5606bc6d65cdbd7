import type { ChangeMessage } from '../shared/wire.js';

/** Who listens to channels. */
export interface LineOwner {
	/** A message came. @param eventId Id of the event that it tells of, where it was one. */
	message(channel: string, message: ChangeMessage, eventId: string | undefined): void;
	/** Messages may be missing: it is connected for the first time, or sent a `resync`. */
	gap(channel: string): void;
	/** Whether all channels are connected. */
	connected(isConnected: boolean): void;
}

/** What brings the messages of channels. */
export interface Line {
	/** Listens to these channels from now on. */
	update(channels: readonly string[]): void;
	/** Connects again now. */
	reconnect(): void;
	close(): void;
}
