import { Hub } from '../server/hub/hub.js';
import type { FeedReader } from '../server/hub/readers.js';
import type { ReplayEvent, ReplayStore } from '../server/backend/replay.js';
import { RAW_PAYLOAD } from '../server/backend/backend.js';
import { guardStore } from '../server/backend/guard.js';
import { inngestSource } from '../server/inngest/inngestSource.js';
import type { RealtimeUpstreamOptions } from '../server/inngest/options.js';
import type { InngestClient } from '../server/inngest/token.js';
import type { Failure } from '../server/failure/failure.js';
import type { FeedSpec } from '../server/hub/source.js';

/** How a channel is doing. None of its methods may throw. */
export interface ChannelFollower {
	live(): void;
	lost(text: string): void;
	/** The channel could not be brought live; the follower has been let go. */
	failed(text: string): void;
}

/** What it takes to receive channels. */
export interface ChannelsOptions {
	inngest: InngestClient;
	upstream?: RealtimeUpstreamOptions | undefined;
	/** Milliseconds that a channel is received after its last follower. */
	lingerMs: number;
	/** A message was put into the log. */
	stored(): void;
}

/** The object validates nothing: whoever reads a log does. */
const NO_DEFINITIONS = {};

/**
 * The channels that an object receives from Inngest, through one socket. Their messages go into the log
 * as they came.
 */
export class Channels {
	readonly #store: ReplayStore;
	readonly #options: ChannelsOptions;
	#hub: Hub | undefined;

	constructor(store: ReplayStore, options: ChannelsOptions) {
		this.#store = store;
		this.#options = options;
	}

	/** What is received now. */
	get stats(): { feeds: number; sockets: number } {
		const stats = this.#hub?.stats;
		return { feeds: stats?.feeds ?? 0, sockets: stats?.sources.inngest?.sockets ?? 0 };
	}

	/**
	 * Receives a channel for as long as somebody follows it, and `lingerMs` longer.
	 *
	 * @returns a function that ends it.
	 */
	follow(log: string, follower: ChannelFollower): () => void {
		const { inngest, upstream, lingerMs, stored } = this.#options;
		this.#hub ??= new Hub({
			app: '',
			source: inngestSource(inngest, { upstream }),
			store: guardStore(named(this.#store, stored)),
			lingerMs
		});
		const hub = this.#hub;
		let cause = '';
		const reader: FeedReader = {
			topics: new Set(),
			report(failure: Failure) {
				cause = failure.cause instanceof Error ? failure.cause.message : failure.message;
				return failure.message;
			},
			deliver() {},
			changed() {
				if (feed.status === 'live') follower.live();
				else follower.lost(cause);
			},
			failed() {
				leave();
				follower.failed(cause);
			}
		};
		const feed = hub.enter(specOf(log));
		let isLeft = false;
		const leave = (): void => {
			if (isLeft) return;
			isLeft = true;
			hub.leave(feed, reader);
		};
		feed.attach(reader);
		if (feed.status !== 'connecting') reader.changed();
		return leave;
	}
}

/** The feed of a log, whose name says which channel and topics it is of. */
function specOf(log: string): FeedSpec {
	const parts = JSON.parse(log.replace(/#\d+$/, '')) as [string, string, ...string[]];
	// In the place of the registry's key stands the whole name, which the hub gives to its store.
	return {
		channel: parts[0],
		entry: log,
		topics: parts.slice(2, -1),
		definitions: NO_DEFINITIONS
	};
}

/** Nobody has validated what comes from Inngest. */
function raw(event: ReplayEvent): ReplayEvent {
	const { kind, topic, payload } = event;
	if (kind !== 'message') return event;
	return { key: '', kind, topic, payload: RAW_PAYLOAD + payload.slice(1) };
}

/** The store, with the names of logs that the app's isolates know. */
function named(store: ReplayStore, stored: () => void): ReplayStore {
	const nameOf = (log: string): string => (JSON.parse(log) as [string, string])[1];
	return {
		append(log, events) {
			stored();
			return store.append(nameOf(log), events.map(raw));
		},
		since: (log, cursor, limit) => store.since(nameOf(log), cursor, limit),
		bounds: (log) => store.bounds(nameOf(log))
	};
}
