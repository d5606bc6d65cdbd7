/** States of a table; `docs/guides/sync.md` says what they mean. */
export type PullState = 'off' | 'fetching' | 'again' | 'current' | 'waiting' | 'stopped';

/** What happens to a table. */
export type PullEvent =
	'start' | 'stop' | 'gap' | 'page' | 'end' | 'stall' | 'fail' | 'refuse' | 'timer' | 'retry';

/** What is to be done: begin a fetch, ask for the next page, wait, or end what runs. */
export type PullEffect = 'fetch' | 'next' | 'wait' | 'abort';

/** The next state, and what is to be done. */
export type Transition = readonly [next: PullState, effect?: PullEffect];

/** Every event in every state. */
export const TRANSITIONS: Readonly<Record<PullState, Readonly<Record<PullEvent, Transition>>>> = {
	off: {
		start: ['fetching', 'fetch'],
		stop: ['off'],
		gap: ['off'],
		page: ['off'],
		end: ['off'],
		stall: ['off'],
		fail: ['off'],
		refuse: ['off'],
		timer: ['off'],
		retry: ['off']
	},
	fetching: {
		start: ['fetching'],
		stop: ['off', 'abort'],
		gap: ['again'],
		page: ['fetching', 'next'],
		end: ['current'],
		stall: ['stopped'],
		fail: ['waiting', 'wait'],
		refuse: ['stopped'],
		timer: ['fetching'],
		retry: ['again']
	},
	again: {
		start: ['again'],
		stop: ['off', 'abort'],
		gap: ['again'],
		page: ['again', 'next'],
		end: ['fetching', 'fetch'],
		stall: ['fetching', 'fetch'],
		fail: ['waiting', 'wait'],
		refuse: ['fetching', 'fetch'],
		timer: ['again'],
		retry: ['again']
	},
	current: {
		start: ['current'],
		stop: ['off'],
		gap: ['fetching', 'fetch'],
		page: ['current'],
		end: ['current'],
		stall: ['current'],
		fail: ['current'],
		refuse: ['current'],
		timer: ['fetching', 'fetch'],
		retry: ['fetching', 'fetch']
	},
	waiting: {
		start: ['waiting'],
		stop: ['off', 'abort'],
		gap: ['waiting'],
		page: ['waiting'],
		end: ['waiting'],
		stall: ['waiting'],
		fail: ['waiting'],
		refuse: ['waiting'],
		timer: ['fetching', 'fetch'],
		retry: ['fetching', 'fetch']
	},
	stopped: {
		start: ['stopped'],
		stop: ['off'],
		gap: ['stopped'],
		page: ['stopped'],
		end: ['stopped'],
		stall: ['stopped'],
		fail: ['stopped'],
		refuse: ['stopped'],
		timer: ['stopped'],
		retry: ['fetching', 'fetch']
	}
};
