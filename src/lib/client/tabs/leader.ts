import { MAX_SUBSCRIPTIONS } from '../../protocol/constants.js';
import { ChannelState } from '../state/channel.js';
import { HttpTransport } from '../transport/http.js';
import { readStream } from '../transport/request.js';
import type { TransportOptions } from '../transport/transport.js';
import type { Group, Leader } from './group.js';
import type { News, Want } from './messages.js';

/** How long, in milliseconds, a new leader hears what tabs want before it connects. */
const GATHER_MS = 30;

/** How long, in milliseconds, the server may take to say again who is there. */
const INTRODUCE_MS = 30_000;

const nothing = (): undefined => {};

/** A channel on the leader's stream. */
interface Shared extends Want {
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
		const wanted = [...channels].map(
			([channel, { subscription }]) => [channel, subscription] as const
		);
		transport.update({ ...options(), pauseOnHidden: false, subscriptions: new Map(wanted) });
	}

	/** Lets go of what a tab does not want any more, if no other does. */
	function drop(tab: number, kept: readonly Want[]): void {
		for (const [channel, { key, tabs }] of channels) {
			if (!kept.some((want) => want.key === key)) tabs.delete(tab);
			if (!tabs.size) channels.delete(channel);
		}
	}

	/** Takes a channel onto the stream, and says how it stands there. */
	function include(tab: number, want: Want): void {
		const { key, cursor, subscription } = want;
		const { channelId, since = '' } = subscription;
		let one = channels.get(channelId);
		if (!one && channels.size < MAX_SUBSCRIPTIONS) {
			one = { ...want, state: follow(key, channelId), tabs: new Set([tab]) };
			one.state.cursor = cursor || since;
			channels.set(channelId, one);
		}
		// With other topics or params it is another stream's.
		if (one?.key !== key) return group.tell({ news: { key, at: '' } });
		const { state, tabs } = one;
		// This tab may be allowed what others were not; if it is not, its app hears why.
		if (!tabs.has(tab) && state.health.status === 'degraded') transport.reconnect();
		tabs.add(tab);
		group.tell({ news: { key, at: state.cursor, health: state.health } });
	}

	function follow(key: string, channelId: string): ChannelState {
		const state = new ChannelState(channelId, console.error, nothing);
		const tell = (news: Omit<News, 'key'>): void => group.tell({ news: { key, ...news } });
		state.healthChanges.listen(() => tell({ health: state.health }));
		state.frames.listen(({ event, cursor: id, raw: data }) => tell({ frame: { event, id, data } }));
		return state;
	}

	return {
		hear({ tab, wants, joins }) {
			const stream = joins && channels.get(joins)?.state.stream;
			if (stream) {
				// Who is there was said before the tab listened.
				const body = JSON.stringify({ presence: { stream, sync: true } });
				const signal = AbortSignal.timeout(INTRODUCE_MS);
				void readStream({ ...options(), body, signal }, nothing, nothing);
			}
			if (!wants) return;
			if (!known.has(tab)) {
				known.add(tab);
				group.whenGone(tab, () => {
					drop(tab, []);
					update();
				});
			}
			drop(tab, wants);
			for (const want of wants) include(tab, want);
			update();
		},
		close() {
			// What still comes, of timers and locks, must not open it again.
			channels.clear();
			transport.close();
		}
	};
}
