import type { GroupMessage, LeaderMessage, TabMessage } from './messages.js';

/** How often, in milliseconds, a tab checks whether its leader has sent anything. */
const LOOK_MS = 1_000;
/** Checks without a message of the leader after which a tab takes over. */
const SILENT_LOOKS = 3;

/**
 * The leader's work for all tabs: one stream for the channels that any of them wants, and messages about it.
 */
export interface Leader {
	/** Handles a message of a tab. */
	hear(message: TabMessage): void;
	close(): void;
}

/** One tab among those that share a stream. */
export interface Group {
	/** Sends a message to the leader. An empty message asks whether it is there. */
	ask(message: Omit<TabMessage, 'tab'>): void;
	/** Sends a message to all tabs, including this one, as their leader. */
	tell(message: Omit<LeaderMessage, 'term'>): void;
	/** Calls `act` once a tab is gone, if this one still leads. */
	whenGone(tab: number, act: () => void): void;
	leave(): void;
}

/**
 * Joins the tabs that share a stream. The leader is the tab that holds a lock. Every other tab has a pending
 * request for the lock, so the browser itself chooses the next leader, however a tab ends. If the leader is
 * silent because it is frozen, a tab that notices takes the lock. Later messages of the old leader have an
 * old term and are ignored.
 *
 * None of the callbacks is called after `leave`.
 *
 * @param lead Called when the tab becomes the leader.
 * @param onTerm Called when a tab has become the leader and needs to know what this tab wants.
 * @param onMessage Called with the messages of the leader.
 * @param onBroken Called when the tabs of this browser cannot share.
 * @throws {Error} if the browser does not support it.
 */
export function joinGroup(
	name: string,
	lead: () => Leader,
	onTerm: (isThis: boolean) => void,
	onMessage: (message: LeaderMessage) => void,
	onBroken: () => void
): Group {
	/** Names the tab. */
	const id = Math.random();
	const channel = new BroadcastChannel(name);
	const { locks } = navigator;
	/** Releases the lock that shows that this tab exists. */
	const end = new AbortController();
	/** Cancels the request for the leader's lock, or releases that lock. */
	let reign = new AbortController();
	let leader: Leader | undefined;
	/** The highest term of a leader so far, which is the latest. */
	let newest = 0;
	/** The term of this tab, if it leads. */
	let own = 0;
	let silentLooks = 0;

	const group: Group = {
		ask: (message) => say({ tab: id, ...message }),
		tell: (message) => say({ term: own, ...message }),
		whenGone(tab, act) {
			locks.request(name + tab, { signal: reign.signal }, act).catch(() => {});
		},
		leave() {
			end.abort();
			stop();
			clearInterval(timer);
			channel.close();
		}
	};

	function say(message: GroupMessage): void {
		channel.postMessage(message);
		hear(message);
	}

	function hear(message: GroupMessage): void {
		if ('tab' in message) {
			leader?.hear(message);
			if (leader) group.tell({});
		} else if (message.term >= newest) {
			silentLooks = 0;
			if (message.term > newest) {
				newest = message.term;
				if (newest !== own) stand();
				onTerm(newest === own);
			}
			onMessage(message);
		}
	}

	function stop(): void {
		reign.abort();
		leader?.close();
		leader = undefined;
	}

	/** Requests the leader's lock once, and waits as long as it takes. */
	function stand(steal?: boolean): void {
		stop();
		reign = new AbortController();
		hold(
			name,
			reign.signal,
			() => {
				leader = lead();
				// The clock may have been set back, but no two terms may be equal.
				own = Math.max(newest + 1, Date.now()) + Math.random();
				group.tell({});
			},
			steal
		);
	}

	/** Holds a lock from the moment it is granted until `signal` aborts. */
	function hold(name: string, signal: AbortSignal, act: () => void, steal?: boolean): void {
		locks
			// A request that steals a lock cannot be cancelled.
			.request(name, steal ? { steal } : { signal }, () => {
				if (signal.aborted) return undefined;
				act();
				return new Promise((resolve) => signal.addEventListener('abort', resolve));
			})
			.catch(() => {
				if (signal.aborted) return;
				// The lock was stolen.
				if (leader) stand();
				else onBroken();
			});
	}

	hold(name + id, end.signal, () => {
		channel.onmessage = ({ data }) => hear(data);
		stand();
		group.ask({});
	});
	const timer = setInterval(() => {
		if (leader) return;
		if (++silentLooks === SILENT_LOOKS) stand(true);
		else group.ask({});
	}, LOOK_MS);
	return group;
}
