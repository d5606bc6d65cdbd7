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
	 * URL of the endpoint made by `createRealtimeEndpoint()`.
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
	 * Called with every failed attempt, ended channel, unreadable message and throwing handler; the last
	 * two go to the console as well. Without it, failures that are not tried again are warned about in the
	 * console during development.
	 */
	onFailure?: (failure: RealtimeClientFailureContext) => void;
	/**
	 * Called when messages of a channel may be missing. When that happens, reload your data, for example
	 * with `invalidateAll()`.
	 */
	onResync?: (resync: ResyncPayload) => void;
	/**
	 * Called when the server does not know the version of an event that the page sends any more: reload
	 * the page, with `location.reload()` or after asking.
	 */
	onOutdated?: (outdated: RealtimeOutdated) => void;
	/** Delays of reconnecting, or `false` to leave a lost stream until `bus.reconnect()`. */
	reconnect?: RealtimeReconnectOptions | false;
	/**
	 * Milliseconds after which a hidden page closes its stream. It resumes where it was when the page is
	 * shown.
	 * @default false
	 */
	pauseOnHidden?: number | false;
	/**
	 * Shares one stream with the other tabs of this browser. A text names who is signed in: tabs with
	 * different texts share nothing. Tabs share when they have the same `endpoint` and `reconnect`; with a
	 * `fetch` of their own only under a text, which then says that it sends the same. Where the browser
	 * cannot do it, each tab has its own stream.
	 * @default false
	 */
	shareTabs?: boolean | string;
	/** Whether to be connected at all. @default true */
	enabled?: boolean;
	/**
	 * Least milliseconds between two updates of the components that read; `0` updates with every
	 * message.
	 * @default undefined (once per frame of the screen)
	 */
	bufferIntervalMs?: number;
	/** Replaces the global `fetch`, for example to send headers. */
	fetch?: typeof globalThis.fetch;
	bus?: undefined;
	children?: Snippet;
}

/** Props of a `RealtimeManager` that provides a bus made elsewhere: `createTestBus()` in tests. */
export interface RealtimeManagerBusProps extends Partial<Omit<RealtimeManagerProps, 'bus'>> {
	/** The bus that the components inside use. All other props but `children` have no effect. */
	bus: RealtimeBus;
}
