import { vi } from 'vitest';
import { RealtimeBus } from '../../../src/lib/client/bus/bus.js';
import type { ChannelState } from '../../../src/lib/client/state/channel.js';
import { resolveSubscriptions } from '../../../src/lib/client/subscriptions.js';
import type {
	RealtimeClientFailureContext,
	RealtimeSubscription
} from '../../../src/lib/client/types.js';
import type { RealtimeManagerProps } from '../../../src/lib/client/props.js';
import { HttpTransport } from '../../../src/lib/client/transport/http.js';
import type { TransportOptions } from '../../../src/lib/client/transport/transport.js';
import type { HealthPayload, ResyncPayload } from '../../../src/lib/protocol/health.js';
import { FakeEndpoint } from './endpoint.js';
import { FakePage } from './page.js';

type Props = Omit<RealtimeManagerProps, 'subscriptions' | 'bus' | 'children'>;

/** What a manager does, without a component: a bus on a fake endpoint and a fake page. */
export class Client {
	readonly endpoint: FakeEndpoint;
	readonly page = new FakePage();
	readonly failures: RealtimeClientFailureContext[] = [];
	readonly resyncs: ResyncPayload[] = [];
	/** Payloads of all messages, by channel. */
	readonly heard: Record<string, unknown[]> = {};
	/** Statuses of all health changes, by channel. */
	readonly healths: Record<string, string[]> = {};
	readonly bus: RealtimeBus;
	#props: Props;
	#active = resolveSubscriptions([]);
	readonly #known = new Set<ChannelState>();

	constructor(props: Props = {}, endpoint = new FakeEndpoint()) {
		this.endpoint = endpoint;
		this.#props = props;
		this.bus = new RealtimeBus({
			subscriptions: () => this.#active,
			connect: (owner) => new HttpTransport(owner),
			settings: () => ({
				onFailure: (failure) => this.failures.push(failure),
				onResync: (resync) => this.resyncs.push(resync),
				...this.#props
			})
		});
		this.enter();
	}

	/** Makes this page the one whose code runs. */
	enter(): void {
		vi.stubGlobal('window', this.page.window);
		vi.stubGlobal('document', this.page.document);
	}

	/** Changes subscriptions and settles. */
	async subscribe(...subscriptions: RealtimeSubscription[]): Promise<void> {
		this.change(...subscriptions);
		await settle();
	}

	/** Changes subscriptions. */
	change(...subscriptions: RealtimeSubscription[]): void {
		this.#active = resolveSubscriptions(subscriptions);
		for (const channelId of this.#active.keys()) this.#listen(channelId);
		this.give({});
	}

	/** Changes props and settles. */
	async set(props: Props): Promise<void> {
		this.give(props);
		await settle();
	}

	/** Changes props. */
	give(props: Props): void {
		this.#props = { ...this.#props, ...props };
		const { endpoint = '/api/events', enabled = true } = this.#props;
		const { reconnect = {}, pauseOnHidden = false, fetch = this.endpoint.fetch } = this.#props;
		const { shareTabs } = this.#props;
		const subscriptions = this.#active;
		this.update({ endpoint, enabled, reconnect, pauseOnHidden, fetch, subscriptions, shareTabs });
	}

	/** Tells the bus what is wanted. */
	update(options: TransportOptions): void {
		this.bus.update(options);
	}

	state(channelId: string): ChannelState {
		return this.bus.state(channelId);
	}

	health(channelId: string): HealthPayload {
		return this.state(channelId).health;
	}

	#listen(channelId: string): void {
		const state = this.state(channelId);
		if (this.#known.has(state)) return;
		this.#known.add(state);
		const heard = (this.heard[channelId] ??= []);
		const healths = (this.healths[channelId] ??= []);
		state.frames.listen((frame) => {
			if (frame.event === 'message') heard.push(frame.data.data);
		});
		state.healthChanges.listen(() => healths.push(state.health.status));
	}
}

/** Lets promises and streams run; timers only as far as `ms`. Needs fake timers. */
export async function settle(ms = 0): Promise<void> {
	await vi.advanceTimersByTimeAsync(ms);
	await vi.advanceTimersByTimeAsync(0);
}
