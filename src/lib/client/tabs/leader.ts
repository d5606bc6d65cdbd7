import { MAX_SUBSCRIPTIONS } from '../../protocol/constants.js';
import { post } from '../hooks/post.js';
import { ChannelState } from '../state/channel.js';
import { HttpTransport } from '../transport/http.js';
import type { TransportOptions } from '../transport/transport.js';
import type { RealtimeResolvedSubscription } from '../types.js';
import type { Group, Leader } from './group.js';
import type { News, TabMessage, Want } from './messages.js';

/** How long, in milliseconds, a new leader collects what tabs want before it connects. */
const GATHER_MS = 30;

const nothing = (): undefined => {};

/** A channel on the leader's stream. */
interface Shared {
	/** The subscription, as `identify` writes it. */
	readonly key: string;
	/** The state of the channel. The tabs are told about it. */
	readonly state: ChannelState;
	/** The tabs that want it. */
	readonly tabs: Set<number>;
}

/**
 * Leads a group.
 *
 * @param options Options of the tab's own manager.
 */
export function lead(group: Group, options: () => TransportOptions): Leader {
	const channels = new Map<string, Shared>();
	/** Their subscriptions. */
	const subscriptions = new Map<string, RealtimeResolvedSubscription>();
	const known = new Set<number>();
	const transport = new HttpTransport({
		state: (channel) => channels.get(channel)!.state,
		// Send it as text: not every thrown value can be sent to another page.
		report: (failure) =>
			group.tell({ failure: { ...failure, error: failure.error && String(failure.error) } }),
		hidden: nothing
	});
	let isGathering = true;
	setTimeout(() => {
		isGathering = false;
		update();
	}, GATHER_MS);

	/** Updates the stream to the wanted channels and the manager's options. */
	function update(): void {
		if (isGathering) return;
		transport.update({ ...options(), pauseOnHidden: false, subscriptions });
	}

	/** Adds a channel to the stream, and tells the tabs its state. */
	function include(tab: number, { key, cursor }: Want): void {
		const [channelId, topics, params] = JSON.parse(key);
		let one = channels.get(channelId);
		if (!one && channels.size < MAX_SUBSCRIPTIONS) {
			one = { key, state: follow(key, channelId), tabs: new Set() };
			one.state.cursor = cursor;
			channels.set(channelId, one);
			subscriptions.set(channelId, { channelId, topics, params: params ?? undefined });
		}
		// With other topics or params it needs another stream.
		if (one?.key !== key) return group.tell({ key, at: '' });
		const { state, tabs } = one;
		// This tab may be allowed what others were not. If it is not, its app learns why.
		if (!tabs.has(tab) && state.health.status === 'degraded') transport.reconnect();
		tabs.add(tab);
		group.tell({ key, at: state.cursor, health: state.health });
	}

	function follow(key: string, channelId: string): ChannelState {
		const state = new ChannelState(channelId, console.error, nothing);
		const tell = (news: Omit<News, 'key'>): void => group.tell({ key, ...news });
		state.healthChanges.listen(() => tell({ health: state.health }));
		state.frames.listen(({ event, cursor: id, raw: data }) => tell({ frame: { event, id, data } }));
		state.receiveUnreadable = (...unreadable) => tell({ unreadable });
		return state;
	}

	function hear({ tab, wants, joins }: TabMessage): void {
		const stream = channels.get(joins!)?.state.stream;
		// The members were sent before the tab listened.
		if (stream) void post({ settings: options }, { presence: { stream, sync: true } });
		if (!wants) return;
		if (!known.has(tab)) {
			known.add(tab);
			group.whenGone(tab, () => hear({ tab, wants: [] }));
		}
		for (const [channel, { key, tabs }] of channels) {
			if (!wants.some((want) => want.key === key)) tabs.delete(tab);
			if (tabs.size) continue;
			channels.delete(channel);
			subscriptions.delete(channel);
		}
		for (const want of wants) include(tab, want);
		update();
	}

	return {
		hear,
		close() {
			// Pending timers and locks must not open it again.
			subscriptions.clear();
			transport.close();
		}
	};
}
