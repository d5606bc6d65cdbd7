import { MAX_SUBSCRIPTIONS } from '../../protocol/constants.js';
import { post } from '../hooks/post.js';
import { ChannelState } from '../state/channel.js';
import { HttpTransport } from '../transport/http.js';
import type { TransportOptions } from '../transport/transport.js';
import type { RealtimeResolvedSubscription } from '../types.js';
import type { Group, Leader } from './group.js';
import type { News, TabMessage, Want } from './messages.js';

/** How long, in milliseconds, a new leader hears what tabs want before it connects. */
const GATHER_MS = 30;

const nothing = (): undefined => {};

/** A channel on the leader's stream. */
interface Shared {
	/** The subscription, as `identify` writes it. */
	readonly key: string;
	/** What came; the tabs are told of it. */
	readonly state: ChannelState;
	/** The tabs that want it. */
	readonly tabs: Set<number>;
}

/**
 * Leads a group.
 *
 * @param options How the tab's own manager connects.
 */
export function lead(group: Group, options: () => TransportOptions): Leader {
	const channels = new Map<string, Shared>();
	/** What they are subscribed with. */
	const subscriptions = new Map<string, RealtimeResolvedSubscription>();
	const known = new Set<number>();
	const transport = new HttpTransport({
		state: (channel) => channels.get(channel)!.state,
		// As text: not everything that is thrown can be sent to another page.
		report: (failure) =>
			group.tell({ failure: { ...failure, error: failure.error && String(failure.error) } }),
		hidden: nothing
	});
	let isGathering = true;
	setTimeout(() => {
		isGathering = false;
		update();
	}, GATHER_MS);

	/** Makes the stream follow what is wanted, and the manager's own options. */
	function update(): void {
		if (isGathering) return;
		transport.update({ ...options(), pauseOnHidden: false, subscriptions });
	}

	/** Takes a channel onto the stream, and says how it stands there. */
	function include(tab: number, { key, cursor }: Want): void {
		const [channelId, topics, params] = JSON.parse(key);
		let one = channels.get(channelId);
		if (!one && channels.size < MAX_SUBSCRIPTIONS) {
			one = { key, state: follow(key, channelId), tabs: new Set() };
			one.state.cursor = cursor;
			channels.set(channelId, one);
			subscriptions.set(channelId, { channelId, topics, params: params ?? undefined });
		}
		// With other topics or params it is another stream's.
		if (one?.key !== key) return group.tell({ key, at: '' });
		const { state, tabs } = one;
		// This tab may be allowed what others were not; if it is not, its app hears why.
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
		// Who is there was said before the tab listened.
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
			// What still comes, of timers and locks, must not open it again.
			subscriptions.clear();
			transport.close();
		}
	};
}
