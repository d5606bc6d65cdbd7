/** The page that tests open: a manager whose props are in the address, and what it received. */
import { mount } from 'svelte';
import type { RealtimeBus } from '../../../src/lib/client/bus/bus.js';
import type { RealtimePresence } from '../../../src/lib/client/hooks/presence.js';
import type { RealtimeClientFailureContext } from '../../../src/lib/client/types.js';
import { roles } from '../../../src/lib/client/tabs/roles.js';
import { extra, locked, numbers } from './channels.js';
import { state } from './state.svelte.js';
import Tab from './Tab.svelte';

/** What the address says, as JSON behind the `#`. */
export interface TabSettings {
	/** @default `{ numbers: {} }` */
	channels?: Record<string, object>;
	shareTabs?: boolean | string;
	endpoint?: string;
	enabled?: boolean;
	pauseOnHidden?: number;
	/** Sent as a header by a `fetch` of the page's own. */
	header?: string;
	user?: string;
	isGone?: boolean;
	inspector?: boolean;
	/** Channels of a manager inside the other. */
	nested?: Record<string, object>;
}

export interface TabProps extends Omit<TabSettings, 'channels' | 'header' | 'nested'> {
	subscriptions: { channel: unknown }[];
	nested?: { channel: unknown }[];
	fetch?: typeof fetch;
}

/** What the page received. */
export interface TabRecord {
	heard: Record<string, number[]>;
	healths: string[];
	failures: RealtimeClientFailureContext[];
	resyncs: string[];
	errors: string[];
	answer: unknown;
	/** Everything that a visit made and nobody needs afterwards. */
	made: WeakRef<object>[];
	bus?: RealtimeBus;
	/** That of the manager inside the other. */
	inner?: RealtimeBus;
	people?: RealtimePresence;
}

const CHANNELS: Record<string, unknown> = { numbers, locked };

function subscribe(channels: Record<string, object>): { channel: unknown }[] {
	return Object.entries(channels).map(([name, more]) => ({
		channel: CHANNELS[name] ?? extra(name),
		...more
	}));
}

function readProps({
	channels = { numbers: {} },
	nested,
	header,
	...others
}: TabSettings): TabProps {
	return {
		...others,
		subscriptions: subscribe(channels),
		...(nested && { nested: subscribe(nested) }),
		...(header && {
			fetch: (url: RequestInfo | URL, init: RequestInit = {}) =>
				fetch(url, { ...init, headers: { ...init.headers, 'x-tab': header } })
		})
	};
}

const record: TabRecord = {
	heard: {},
	healths: [],
	failures: [],
	resyncs: [],
	errors: [],
	answer: null,
	made: []
};
addEventListener('error', ({ message }) => record.errors.push(message));
addEventListener('unhandledrejection', ({ reason }) => record.errors.push(String(reason)));
for (const kind of ['error', 'warn'] as const) {
	const write = console[kind];
	console[kind] = (...what) => {
		record.errors.push(what.map(String).join(' '));
		write(...what);
	};
}

let settings = JSON.parse(decodeURIComponent(location.hash.slice(1)) || '{}') as TabSettings;
state.props = readProps(settings);
const tab = {
	record,
	/** Changes some of what the address said. */
	set(more: TabSettings) {
		settings = { ...settings, ...more };
		state.props = readProps(settings);
	},
	status: () => record.bus?.status.current.status,
	/** Whether the tab leads. */
	role: () => roles.get(record.bus!)
};
Object.assign(window, { tab });
mount(Tab, {
	target: document.body,
	props: {
		get props() {
			return state.props!;
		},
		record
	}
});

declare global {
	interface Window {
		tab: typeof tab;
	}
}
