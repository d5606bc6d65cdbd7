import type { RealtimeBus } from '../bus/bus.js';
import { identify } from '../subscriptions.js';
import { HttpTransport } from '../transport/http.js';
import type { Transport, TransportOptions, TransportOwner } from '../transport/transport.js';
import type { RealtimeResolvedSubscription } from '../types.js';
import { follow, type Follower } from './follower.js';
import { joinGroup, type Group } from './group.js';
import { lead } from './leader.js';
import { roles } from './roles.js';

/** Gives a bus its manager's options, and a transport that shares one stream with other tabs. */
export function share(bus: RealtimeBus, options: TransportOptions): void {
	bus.update(options, connect);
}

/**
 * Creates a transport that shares one stream with other tabs: their leader's stream carries the channels that
 * any of them wants. Each tab has its own cursors and health, and its own stream for whatever cannot be
 * shared: a channel whose position the leader's stream has passed, until the tab has caught up, and
 * everything if the browser cannot share. A page that is hidden or left does not take part.
 */
function connect(owner: TransportOwner): Transport {
	/** By subscription, as `identify` writes it. */
	const followers = new Map<string, Follower>();
	let options: TransportOptions | undefined;
	/** The channels that were wanted last. After a change, refused ones are tried again. */
	let asked = '';
	let refused = new Set<string>();
	let isAway = false;
	let isBroken = false;
	/** Tabs share with tabs whose group has the same name; empty if this one does not share. */
	let name = '';
	let group: Group | undefined;
	/** For channels that are not shared. It also watches the page. */
	const own = new HttpTransport({
		state: (channel) => owner.state(channel),
		report: (failure) => owner.report(failure),
		hidden(isHidden) {
			owner.hidden(isHidden);
			if (isHidden === isAway) return;
			isAway = isHidden;
			sync();
		}
	});

	/** Compares the wanted channels with the current ones, and acts. */
	function sync(): void {
		if (!options) return;
		const { endpoint, fetch, reconnect, enabled = true, shareTabs } = options;
		const wanted = listWanted();
		// We cannot compare what the `fetch` of two pages sends; a key promises that it is the same.
		const canShare = shareTabs === true ? !fetch : shareTabs;
		const isMember = canShare && enabled && !isAway && !isBroken && wanted[0];
		const newName = isMember
			? JSON.stringify([new URL(endpoint, document.baseURI), shareTabs, reconnect])
			: '';
		if (newName !== name) leave();
		name = newName;
		if (name && !group) join();
		if (group) want(wanted);
		updateOwn();
	}

	function join(): void {
		try {
			group = joinGroup(
				name,
				() => lead(group!, () => options!),
				(isThis) => {
					roles.set(owner, isThis);
					// The new leader does not know this tab.
					drop([]);
					sync();
				},
				(message) => {
					followers.get(message.key!)?.take(message);
					const { failure } = message;
					const isMine = options!.subscriptions.has(failure?.channelId as string);
					if (failure && (isMine || !failure.channelId)) owner.report(failure);
				},
				giveUp
			);
		} catch {
			giveUp();
		}
	}

	/** From now on the tab has its own stream. */
	function giveUp(): void {
		isBroken = true;
		sync();
	}

	function leave(): void {
		group?.leave();
		group = undefined;
		drop([]);
		roles.delete(owner);
	}

	/** Follows only these subscriptions from now on. */
	function drop(kept: readonly string[]): void {
		for (const [key, follower] of followers) {
			if (kept.includes(key)) continue;
			// It may still listen to the tab's own stream.
			follower.stage = 'connecting';
			followers.delete(key);
		}
	}

	/** Tells the leader what this tab wants. */
	function want(subscriptions: readonly RealtimeResolvedSubscription[]): void {
		const wants = subscriptions.map((subscription) => {
			const key = identify(subscription);
			const state = owner.state(subscription.channelId);
			const onChange = ({ stage }: Follower): void => {
				updateOwn();
				if (stage === 'live') group?.ask({ joins: subscription.channelId });
			};
			if (!followers.has(key)) followers.set(key, follow(subscription, state, onChange));
			return { key, cursor: state.cursor || subscription.since || '' };
		});
		drop(wants.map(({ key }) => key));
		group?.ask({ wants });
	}

	/** The channels that are wanted and not refused. */
	function listWanted(): RealtimeResolvedSubscription[] {
		return [...options!.subscriptions.values()].filter(({ channelId }) => !refused.has(channelId));
	}

	/** Opens its own stream for channels that are not shared. */
	function updateOwn(): void {
		const alone = listWanted().filter(
			(one) => !group || followers.get(identify(one))?.stage === 'behind'
		);
		own.update({ ...options!, subscriptions: new Map(alone.map((one) => [one.channelId, one])) });
	}

	return {
		update(wanted) {
			const newlyAsked = identify(...wanted.subscriptions.values());
			if (newlyAsked !== asked) refused = new Set();
			asked = newlyAsked;
			options = wanted;
			sync();
		},
		reconnect() {
			refused = new Set();
			own.reconnect();
			leave();
			sync();
		},
		refuse(channels, ...why) {
			for (const channel of channels) {
				refused.add(channel);
				owner.state(channel).tell('degraded', ...why);
			}
			sync();
		},
		close() {
			options = undefined;
			leave();
			own.close();
		}
	};
}
