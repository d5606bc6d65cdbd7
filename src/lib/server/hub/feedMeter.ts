import type { HubMeters } from '../metrics/hubMeters.js';
import { DecayingRate } from '../metrics/rate.js';
import type { LogEntry } from './entry.js';

/** How busy a channel is. */
export interface Busyness {
	/** Messages per second, recently. */
	messagesPerSecond: number;
	/** Bytes of those messages per second, each counted once. */
	bytesPerSecond: number;
}

/** Counts what one feed delivers, once per message and not per reader. */
export class FeedMeter {
	readonly #meters: HubMeters;
	readonly #label: string;
	readonly #messages: { value: number };
	readonly #bytes: { value: number };
	readonly #lag: { observe(seconds: number): void };
	readonly #messageRate = new DecayingRate();
	readonly #byteRate = new DecayingRate();

	/** @param entry Key of the registry entry; empty for a channel that is not registered. */
	constructor(meters: HubMeters, entry: string) {
		this.#meters = meters;
		this.#label = entry || 'other';
		this.#messages = meters.messages.of(this.#label);
		this.#bytes = meters.bytes.of(this.#label);
		this.#lag = meters.lag.of(this.#label);
	}

	/** Counts entries that were just delivered to the readers. */
	count(entries: readonly LogEntry[], readers: number): void {
		const nowMs = Date.now();
		let messages = 0;
		let bytes = 0;
		for (const entry of entries) {
			if (entry.kind === 'resync') {
				this.#meters.resyncs.of(this.#label, 'upstream-gap').value += readers;
				continue;
			}
			messages++;
			bytes += entry.bytes;
			const { createdMs } = entry;
			// Clocks of two machines differ; a message cannot arrive before it was published.
			if (createdMs !== undefined) this.#lag.observe(Math.max(0, nowMs - createdMs) / 1_000);
		}
		if (messages === 0) return;
		this.#messages.value += messages;
		this.#bytes.value += bytes;
		this.#messageRate.add(messages, nowMs);
		this.#byteRate.add(bytes, nowMs);
	}

	/** Counts a reader that was told that messages may be missing. */
	missed(reason: string): void {
		this.#meters.resyncs.of(this.#label, reason).value++;
	}

	read(): Busyness {
		const nowMs = Date.now();
		return {
			messagesPerSecond: this.#messageRate.perSecond(nowMs),
			bytesPerSecond: this.#byteRate.perSecond(nowMs)
		};
	}
}
