import type { RealtimeBus } from '../client/bus/bus.js';
import { isPiece, type ChannelState } from '../client/state/channel.js';
import type { Frame } from '../protocol/frame.js';
import { Signal } from '../client/state/signal.js';
import type { ResyncPayload } from '../protocol/health.js';
import type { RealtimeTopicEnvelope } from '../protocol/types.js';

/** Most messages that are listed. */
const LISTED = 20;
/** Most characters of a message's data that are shown. */
const PREVIEW = 200;

/** A message that arrived while the channel was watched. */
export class SeenMessage {
	readonly message: RealtimeTopicEnvelope;
	readonly arrivedAt = Date.now();
	#preview: string | undefined;

	constructor(message: RealtimeTopicEnvelope) {
		this.message = message;
	}

	/** Milliseconds since its publication, measured by two clocks; unknown for a piece of a data stream. */
	get ageMs(): number | undefined {
		return isPiece(this.message) ? undefined : this.arrivedAt - Date.parse(this.message.createdAt);
	}

	/** The beginning of its data; created on demand, because data may be large. */
	get preview(): string {
		if (this.#preview === undefined) {
			const text = JSON.stringify(this.message.data) ?? '';
			this.#preview = text.length > PREVIEW ? `${text.slice(0, PREVIEW)}…` : text;
		}
		return this.#preview;
	}
}

/** What has happened to one channel since it is watched; a new object after each change. */
export interface ChannelFacts {
	/** Position of the last frame; empty before the first. */
	readonly cursor: string;
	readonly messages: number;
	/** How often it was reconnected. */
	readonly reconnects: number;
	readonly resyncs: number;
	readonly lastResync: ResyncPayload | undefined;
	/** The newest message with a known age. */
	readonly last: SeenMessage | undefined;
}

const NOTHING: ChannelFacts = {
	cursor: '',
	messages: 0,
	reconnects: 0,
	resyncs: 0,
	lastResync: undefined,
	last: undefined
};

/** Watches one channel of one manager. */
class ChannelWatch {
	facts = NOTHING;
	#wasConnected = false;
	#isLost = false;

	/** Handles a frame. @returns the message, if it is one. */
	receive({ event, data }: Frame, cursor: string): SeenMessage | undefined {
		const { messages, resyncs } = this.facts;
		this.facts = { ...this.facts, cursor };
		if (event === 'resync') this.facts = { ...this.facts, resyncs: resyncs + 1, lastResync: data };
		if (event !== 'message') return undefined;
		const seen = new SeenMessage(data);
		this.facts = { ...this.facts, messages: messages + 1 };
		if (seen.ageMs !== undefined) this.facts = { ...this.facts, last: seen };
		return seen;
	}

	healthIs(ok: boolean): void {
		if (ok && this.#isLost) {
			this.facts = { ...this.facts, reconnects: this.facts.reconnects + 1 };
		}
		this.#isLost = !ok && (this.#isLost || this.#wasConnected);
		this.#wasConnected = ok;
	}
}

/**
 * Counts and lists the messages of channels while they are watched. It costs a few numbers per message.
 * Readers update at most once per frame of the screen.
 */
export class Watches {
	#messages: readonly SeenMessage[] = [];
	readonly #watches = new WeakMap<RealtimeBus, Map<string, ChannelWatch>>();
	readonly #changes = new Signal<void>(
		(error) => console.error(error),
		() => undefined
	);

	/** The newest messages of all channels, newest first. */
	get messages(): readonly SeenMessage[] {
		this.#changes.track();
		return this.#messages;
	}

	/** The counts of a channel. */
	facts(bus: RealtimeBus, channelId: string): ChannelFacts {
		this.#changes.track();
		return this.#of(bus, channelId).facts;
	}

	/** Watches a channel until the returned function is called; earlier counts stay. */
	watch(bus: RealtimeBus, state: ChannelState): () => void {
		const watch = this.#of(bus, state.channelId);
		const hear = (): void => {
			watch.healthIs(state.health.ok);
			this.#changes.emit();
		};
		hear();
		const stops = [
			state.healthChanges.listen(hear),
			state.frames.listen((frame) => {
				const seen = watch.receive(frame, state.cursor);
				if (seen) this.#messages = [seen, ...this.#messages].slice(0, LISTED);
				this.#changes.emit();
			})
		];
		return () => {
			for (const stop of stops) stop();
		};
	}

	#of(bus: RealtimeBus, channelId: string): ChannelWatch {
		let watches = this.#watches.get(bus);
		if (!watches) this.#watches.set(bus, (watches = new Map()));
		let watch = watches.get(channelId);
		if (!watch) watches.set(channelId, (watch = new ChannelWatch()));
		return watch;
	}
}
