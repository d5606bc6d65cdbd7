/** Props of `RealtimeManager`. */
import type { Snippet } from 'svelte';
import type { ResyncPayload } from '../protocol/health.js';
import type { RealtimeBus } from './bus/bus.js';
import type {
	CheckedSubscriptions,
	RealtimeClientFailureContext,
	RealtimeOutdated,
	RealtimeReconnectOptions,
	RealtimeSubscription
} from './types.js';

/** Props of `RealtimeManager`. */
export interface RealtimeManagerProps<
	TSubscriptions extends readonly RealtimeSubscription[] = readonly RealtimeSubscription[]
> {
	/**
	 * URL of the endpoint that `createRealtimeEndpoint()` serves.
	 * @default '/api/events' below SvelteKit's `paths.base`
	 */
	endpoint?: string;
	/**
	 * Channels to receive, all over one stream.
	 * @throws {RealtimeError} `DUPLICATE_CHANNEL` when two resolve to the same channel,
	 * `INVALID_OPTION` when one has no topics, or its channel needs parameters that are missing.
	 */
	subscriptions: TSubscriptions & CheckedSubscriptions<TSubscriptions>;
	/**
	 * Called for every failed attempt, ended channel, unreadable message and throwing handler; the last two are
	 * logged to the console as well. Without it, the console warns during development about failures that are
	 * not tried again.
	 */
	onFailure?: (failure: RealtimeClientFailureContext) => void;
	/**
	 * Called when messages of a channel may be missing. When that happens, reload your data, for example
	 * with `invalidateAll()`.
	 */
	onResync?: (resync: ResyncPayload) => void;
	/**
	 * Called when the server no longer supports the version of an event that the page sends: reload the page,
	 * with `location.reload()` or after asking the user.
	 */
	onOutdated?: (outdated: RealtimeOutdated) => void;
	/** Delays between attempts to reconnect, or `false` to wait for `bus.reconnect()` after a stream is lost. */
	reconnect?: RealtimeReconnectOptions | false;
	/**
	 * Milliseconds after which a hidden page closes its stream. When the page is shown again, it resumes where
	 * it was.
	 * @default false
	 */
	pauseOnHidden?: number | false;
	/**
	 * Shares one stream with the other tabs of this browser. A string names the user who is signed in: tabs with
	 * different strings share nothing. Tabs share if they have the same `endpoint` and `reconnect`. Tabs with a
	 * custom `fetch` share only under a string, which then promises that their `fetch` sends the same. If the
	 * browser does not support it, each tab has its own stream.
	 * @default false
	 */
	shareTabs?: boolean | string;
	/** Whether to connect at all. @default true */
	enabled?: boolean;
	/**
	 * Minimum time, in milliseconds, between two updates of the components that read; `0` updates with every
	 * message.
	 * @default undefined (once per frame of the screen)
	 */
	bufferIntervalMs?: number;
	/** Replaces the global `fetch`, for example to send headers. */
	fetch?: typeof globalThis.fetch;
	bus?: undefined;
	children?: Snippet;
}

/** Props of a `RealtimeManager` that provides an existing bus, such as `createTestBus()` in tests. */
export interface RealtimeManagerBusProps extends Partial<Omit<RealtimeManagerProps, 'bus'>> {
	/** The bus that the components inside use. All other props but `children` have no effect. */
	bus: RealtimeBus;
}
