import type { BusListener } from '../../src/lib/server/backend/backend.js';
import type { ReplayedEvent, ReplayEvent } from '../../src/lib/server/backend/replay.js';
import type { SourceListener, SourceMessage } from '../../src/lib/server/hub/source.js';

let keys = 0;

/** A message for a log. */
export function message(text: string, key = `key ${++keys}`): ReplayEvent {
	return { key, kind: 'message', topic: 'message', payload: JSON.stringify(text) };
}

/** The texts of messages. */
export const texts = (events: readonly ReplayedEvent[]): unknown[] =>
	events.map(({ payload }) => JSON.parse(payload));

/** Somebody who listens to a log, and what they were told. */
export class BusRecorder implements BusListener {
	readonly turns: ('live' | 'lost')[] = [];
	readonly told: ReplayedEvent[] = [];
	readonly errors: Error[] = [];
	/** How often the log had to be read. */
	reads = 0;
	receives = false;

	isLive(): boolean {
		return this.receives;
	}

	events(events: readonly ReplayedEvent[]): void {
		this.told.push(...events);
		if (events.length === 0) this.reads++;
	}

	live(): void {
		this.turns.push('live');
	}

	lost(error: Error): void {
		this.turns.push('lost');
		this.errors.push(error);
	}
}

/** Somebody who listens to a source, and what they were told. */
export class SourceRecorder implements SourceListener {
	readonly channel: string;
	readonly topics: readonly string[];
	readonly turns: ('live' | 'lost' | 'failed' | 'gap')[] = [];
	readonly messages: SourceMessage[] = [];
	readonly errors: Error[] = [];

	constructor(channel: string, topics: readonly string[]) {
		this.channel = channel;
		this.topics = topics;
	}

	get data(): unknown[] {
		return this.messages.map(({ data }) => data);
	}

	live(): void {
		this.turns.push('live');
	}

	lost(error: Error): void {
		this.turns.push('lost');
		this.errors.push(error);
	}

	failed(error: Error): void {
		this.turns.push('failed');
		this.errors.push(error);
	}

	gap(): void {
		this.turns.push('gap');
	}

	message(message: SourceMessage): void {
		this.messages.push(message);
	}
}
