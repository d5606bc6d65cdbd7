import { RealtimeError } from '../protocol/errors.js';
import { guardBackend, guardStore } from './backend/guard.js';
import { MemoryReplayStore } from './backend/memory.js';
import { Hub, sumStats, type BusyChannel, type HubStats } from './hub/hub.js';
import { inngestSource } from './inngest/inngestSource.js';
import type { InngestClient } from './inngest/token.js';
import type { RealtimeMetric } from './metrics/metric.js';
import type { Settings } from './options.js';
import { serverLoad } from './runtime/reload.js';

/** Options that all endpoints of one Inngest client have in common. */
type HubSettings = Pick<Settings, 'lingerMs' | 'maxWarmFeeds' | 'replay' | 'backend' | 'upstream'>;

/** The hub of an Inngest client, and how many endpoints use it. */
interface Shared {
	readonly hub: Hub;
	readonly settings: HubSettings;
	/** The load of the server's code that created it. */
	readonly load: number | undefined;
	users: number;
}

const sharedHubs = new WeakMap<InngestClient, Shared>();

/**
 * The hubs of one endpoint: the one that all endpoints of its Inngest client share or, if a socket may not
 * outlive its request, one per stream. Owned by the endpoint, ended by `close`.
 */
export class Hubs {
	readonly #inngest: InngestClient;
	readonly #settings: HubSettings;
	readonly #shared: Shared | undefined;
	/** Hubs of single streams. */
	readonly #single = new Set<Hub>();

	/** @throws {RealtimeError} `INVALID_OPTION` when another endpoint shares the hub with other options. */
	constructor(inngest: InngestClient, settings: HubSettings, isShared: boolean) {
		this.#inngest = inngest;
		this.#settings = settings;
		this.#shared = isShared ? share(inngest, settings) : undefined;
	}

	/** The hub that all streams share, if there is one. */
	get shared(): Hub | undefined {
		return this.#shared?.hub;
	}

	get stats(): HubStats {
		return this.#shared?.hub.stats ?? sumStats([...this.#single]);
	}

	/** The metrics of the shared hub; none if each stream has its own hub. */
	readMeters(): RealtimeMetric[] {
		return this.#shared?.hub.readMeters() ?? [];
	}

	/** The channels with the most messages per second. */
	busiest(count: number): BusyChannel[] {
		return this.#shared?.hub.busiest(count) ?? [];
	}

	/**
	 * The hub for one stream or iteration. It costs nothing before `hold`.
	 *
	 * @param platform The platform of the request, if any: the backend may be reached through it.
	 */
	acquire(platform?: unknown): Hub {
		if (this.#shared) return this.#shared.hub;
		const { backend } = this.#settings;
		const isReached = backend?.use?.(platform) ?? true;
		return createHub(
			this.#inngest,
			isReached ? this.#settings : { ...this.#settings, backend: undefined }
		);
	}

	/** Call this when the stream or iteration starts; `release` gives its hub back. */
	hold(hub: Hub): void {
		if (!this.#shared) this.#single.add(hub);
	}

	release(hub: Hub): void {
		if (this.#single.delete(hub)) hub.close();
	}

	/** Calls `work` with a hub and holds the hub until `work` is done. */
	async use<T>(work: (hub: Hub) => Promise<T>): Promise<T> {
		const hub = this.acquire();
		this.hold(hub);
		try {
			return await work(hub);
		} finally {
			this.release(hub);
		}
	}

	/** Stops keeping feeds warm. */
	drain(): void {
		this.#shared?.hub.drain();
	}

	close(): void {
		for (const hub of [...this.#single]) this.release(hub);
		const shared = this.#shared;
		if (!shared || --shared.users > 0) return;
		if (sharedHubs.get(this.#inngest) === shared) sharedHubs.delete(this.#inngest);
		shared.hub.close();
	}
}

function share(inngest: InngestClient, settings: HubSettings): Shared {
	const load = serverLoad();
	let shared = sharedHubs.get(inngest);
	if (shared) {
		const difference = differingOption(shared.settings, settings);
		if (difference && shared.load === load) throw differ(difference, shared.settings, settings);
		// After a reload the endpoint with the earlier options closes soon, and its hub with it.
		if (difference) shared = undefined;
	}
	if (!shared) {
		shared = { hub: createHub(inngest, settings), settings, load, users: 0 };
		sharedHubs.set(inngest, shared);
	}
	shared.users++;
	return shared;
}

function createHub(inngest: InngestClient, settings: HubSettings): Hub {
	const { lingerMs, maxWarmFeeds, replay, backend, upstream } = settings;
	const hasOwnStore = replay && 'append' in replay;
	const hub: Hub = new Hub({
		app: inngest.id,
		source: inngestSource(inngest, { upstream, onDrop: () => hub.countDrop('unreadable') }),
		store: hasOwnStore
			? guardStore(replay)
			: new MemoryReplayStore(replay === false ? { maxEvents: 0 } : replay),
		limits: hasOwnStore ? undefined : replay,
		// The app's own store replaces the backend's store.
		backend: backend && !hasOwnStore ? guardBackend(backend) : undefined,
		lingerMs,
		maxWarmFeeds
	});
	return hub;
}

function differingOption(a: HubSettings, b: HubSettings): keyof HubSettings | undefined {
	if (a.lingerMs !== b.lingerMs) return 'lingerMs';
	if (a.maxWarmFeeds !== b.maxWarmFeeds) return 'maxWarmFeeds';
	if (a.backend !== b.backend) return 'backend';
	if (a.upstream.agent !== b.upstream.agent || a.upstream.WebSocket !== b.upstream.WebSocket) {
		return 'upstream';
	}
	return isSameReplay(a.replay, b.replay) ? undefined : 'replay';
}

/** Stores are equal if they are the same object, bounds if they have the same values. */
function isSameReplay(a: HubSettings['replay'], b: HubSettings['replay']): boolean {
	if (a === b) return true;
	if (!a || !b || 'append' in a || 'append' in b) return false;
	const names = new Set([...Object.keys(a), ...Object.keys(b)]) as Set<keyof typeof a>;
	return [...names].every((name) => a[name] === b[name]);
}

function differ(name: keyof HubSettings, a: HubSettings, b: HubSettings): RealtimeError {
	const describe = (value: unknown): string =>
		typeof value === 'object' ? 'one of its own' : String(value);
	return new RealtimeError(
		'INVALID_OPTION',
		`Two endpoints share an Inngest client but differ in \`${name}\` (${describe(a[name])} and ${describe(b[name])}). They share one hub: give both the same value, or give each its own Inngest client. If you have just edited the option, restart the development server.`
	);
}
