import type { GroupMessage, LeaderMessage, TabMessage } from './messages.js';

/** How often a tab looks whether its leader has said something, in milliseconds. */
const LOOK_MS = 1_000;
/** Looks without a word of the leader after which a tab takes over. */
const SILENT_LOOKS = 3;

/** What the leader does for all tabs: one stream for whatever any of them wants, and word of what happens. */
export interface Leader {
	/** Hears what a tab says. */
	hear(message: TabMessage): void;
	close(): void;
}

/** One tab among those that share a stream. */
export interface Group {
	/** Says something to the leader; nothing in particular is a question whether it is there. */
	ask(message: Omit<TabMessage, 'tab'>): void;
	/** Says something to all tabs, this one included, as their leader. */
	tell(message: Omit<LeaderMessage, 'term'>): void;
	/** Calls `act` once a tab is gone, if this one still leads. */
	whenGone(tab: number, act: () => void): void;
	leave(): void;
}

/**
 * Joins the tabs that share a stream. The leader is the one that holds a lock. Every other has one
 * request for it pending, so the browser itself names the next leader, however a tab ends. A leader that is
 * silent, because it is frozen, loses the lock to a tab that notices. What it says after that has an
 * old term and is not listened to.
 *
 * None of the callbacks is called after `leave`.
 *
 * @param lead Called when the tab is to lead.
 * @param onTerm Called when a tab leads from now on, and has to be told what this one wants.
 * @param onMessage Called with what the leader says.
 * @param onBroken Called when the tabs of this browser cannot share.
 * @throws {Error} where the browser cannot do it.
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
	/** Gives back the lock that says that this tab is here. */
	const end = new AbortController();
	/** Ends the request for the leader's lock, or gives that lock back. */
	let reign = new AbortController();
	let leader: Leader | undefined;
	/** The term of the leader that was heard last, which is the highest. */
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

	/** Asks for the leader's lock: once, and for as long as it takes. */
	function stand(steal?: boolean): void {
		stop();
		reign = new AbortController();
		hold(
			name,
			reign.signal,
			() => {
				leader = lead();
				// The clock may have been set back; no two terms are the same.
				own = Math.max(newest + 1, Date.now()) + Math.random();
				group.tell({});
			},
			steal
		);
	}

	/** Holds a lock from the moment that it is given until `signal` aborts. */
	function hold(name: string, signal: AbortSignal, act: () => void, steal?: boolean): void {
		locks
			// A request that takes a lock away cannot be cancelled.
			.request(name, steal ? { steal } : { signal }, () => {
				if (signal.aborted) return undefined;
				act();
				return new Promise((resolve) => signal.addEventListener('abort', resolve));
			})
			.catch(() => {
				if (signal.aborted) return;
				// It was taken away.
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
