import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { roles } from '../../src/lib/client/tabs/roles.js';
import { demo, user } from '../support/client/channels.js';
import { settle } from '../support/client/client.js';
import type { FakeStream } from '../support/client/endpoint.js';
import { FakeBrowser, type FakeTab } from '../support/client/tabs.js';

let browser: FakeBrowser;

beforeEach(() => {
	vi.useFakeTimers();
	browser = new FakeBrowser();
});
afterEach(() => {
	vi.useRealTimers();
	vi.unstubAllGlobals();
	vi.restoreAllMocks();
});

/** Longer than a new leader waits to hear what tabs want. */
const GATHERED_MS = 50;
/** Longer than a leader may be silent. */
const SILENT_MS = 5_000;

const leads = (tab: FakeTab): boolean | undefined => roles.get(tab.bus);
const status = (tab: FakeTab): string => tab.health('demo').status;

/** Opens tabs, the first of which leads, and accepts the one stream. */
async function openTabs(count: number, ...props: Parameters<FakeBrowser['open']>) {
	const tabs: FakeTab[] = [];
	for (let index = 0; index < count; index++) tabs.push(await browser.open(...props));
	await settle(GATHERED_MS);
	expect(browser.endpoint.streams).toHaveLength(1);
	const stream = browser.endpoint.last.accept('e-1');
	await settle();
	for (const tab of tabs) expect(status(tab)).toBe('connected');
	expect(tabs.map(leads)).toEqual(tabs.map((_, index) => index === 0));
	return { tabs, stream };
}

async function say(stream: FakeStream, n: number): Promise<void> {
	stream.message('demo', 'count', n, `e-${n}`);
	await settle();
}

test('tabs share one stream, and each hears every message once', async () => {
	const { tabs, stream } = await openTabs(5);
	await say(stream, 2);
	await say(stream, 3);
	for (const tab of tabs) expect(tab.heard.demo).toEqual([2, 3]);
});

test.each(['close', 'crash'] as const)(
	'after a %s of the leader the next one goes on from the cursor',
	async (end) => {
		const { tabs, stream } = await openTabs(3);
		await say(stream, 2);
		await tabs[0]![end]();
		if (end === 'close') expect(stream.aborted).toBe(true);
		await settle(GATHERED_MS);
		expect(browser.endpoint.streams).toHaveLength(2);
		expect(browser.endpoint.last.body.lastEventId).toBe('e-2');
		const next = browser.endpoint.last.accept();
		await say(next, 3);
		expect(tabs.map(leads)).toEqual([end === 'close' ? undefined : true, true, false]);
		for (const tab of tabs.slice(1)) {
			expect(tab.heard.demo).toEqual([2, 3]);
			expect(tab.failures).toEqual([]);
		}
	}
);

test('ten leaders in a row are closed, and nobody misses or repeats a message', async () => {
	const { tabs, stream } = await openTabs(12);
	let current = stream;
	for (let n = 2; n < 12; n++) {
		await say(current, n);
		await tabs.shift()!.close();
		await settle(GATHERED_MS);
		current = browser.endpoint.last.accept();
		await settle();
	}
	await say(current, 12);
	for (const tab of tabs) expect(tab.heard.demo).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
	expect(browser.endpoint.streams).toHaveLength(11);
});

test('a leader that is frozen loses the lead; what it says afterwards is not listened to', async () => {
	const { tabs, stream } = await openTabs(3);
	const [frozen, ...others] = tabs as [FakeTab, FakeTab, FakeTab];
	frozen.freeze();
	await settle(SILENT_MS);
	expect(others.filter(leads)).toHaveLength(1);
	const next = browser.endpoint.last.accept();
	await settle();
	await say(next, 2);
	// Its stream was open meanwhile, and brought what nobody else has yet.
	await say(stream, 2);
	await say(stream, 3);
	await frozen.thaw();
	expect(leads(frozen)).toBe(false);
	expect(stream.aborted).toBe(true);
	for (const tab of others) expect(tab.heard.demo).toEqual([2]);
	await say(next, 3);
	await say(next, 4);
	await settle(GATHERED_MS);
	for (const tab of tabs) expect(tab.heard.demo).toEqual([2, 3, 4]);
});

test('a tab that comes during a takeover is live with the others', async () => {
	const { tabs, stream } = await openTabs(2);
	await say(stream, 2);
	await tabs[0]!.crash();
	const late = await browser.open();
	await settle(GATHERED_MS);
	expect(browser.endpoint.streams).toHaveLength(2);
	const next = browser.endpoint.last.accept();
	await settle();
	await say(next, 3);
	expect(tabs[1]!.heard.demo).toEqual([2, 3]);
	expect(late.heard.demo).toEqual([3]);
	expect(status(late)).toBe('connected');
});

test('a page that is left is no member and keeps no timer, and follows when it is back', async () => {
	const { tabs, stream } = await openTabs(2);
	const [first, second] = tabs as [FakeTab, FakeTab];
	await say(stream, 2);
	first.run(() => first.page.tell('pagehide'));
	await settle(GATHERED_MS);
	expect(leads(first)).toBe(undefined);
	const next = browser.endpoint.last.accept();
	await say(next, 3);
	expect(first.heard.demo).toEqual([2]);
	first.run(() => first.page.tell('pageshow'));
	await settle();
	expect([first, second].map(leads)).toEqual([false, true]);
	// It catches up by itself, from where it was.
	const own = browser.endpoint.last;
	expect(own.body.lastEventId).toBe('e-2');
	own.accept().message('demo', 'count', 3, 'e-3');
	await settle();
	expect(own.aborted).toBe(true);
	await say(next, 4);
	for (const tab of tabs) expect(tab.heard.demo).toEqual([2, 3, 4]);
	for (const tab of tabs) tab.run(() => tab.page.tell('pagehide'));
	await settle(100);
	expect(vi.getTimerCount()).toBe(0);
	expect(browser.endpoint.open).toEqual([]);
});

describe('a tab has a stream of its own', () => {
	test('where it is refused locks', async () => {
		const { tabs } = await openTabs(1);
		const tab = new (tabs[0]!.constructor as typeof FakeTab)(browser, { shareTabs: 'alice' });
		tab.isLockless = true;
		await tab.subscribe({ channel: demo });
		expect(browser.endpoint.streams).toHaveLength(2);
		browser.endpoint.last.accept();
		await settle();
		expect(status(tab)).toBe('connected');
	});

	test('where channels throw', async () => {
		const { tabs } = await openTabs(1);
		const tab = new (tabs[0]!.constructor as typeof FakeTab)(browser, { shareTabs: 'alice' });
		tab.isMute = true;
		await tab.subscribe({ channel: demo });
		browser.endpoint.last.accept();
		await settle();
		expect(browser.endpoint.open).toHaveLength(2);
		expect(status(tab)).toBe('connected');
	});

	test.each([
		['another key', { shareTabs: 'bob' }],
		['another endpoint', { endpoint: '/api/others' }],
		['another way to reconnect', { reconnect: false }]
	] as const)('with %s', async (_, props) => {
		await openTabs(1);
		const tab = await browser.open(props);
		await settle(GATHERED_MS);
		expect(browser.endpoint.open).toHaveLength(2);
		expect(leads(tab)).toBe(true);
	});

	test('for a channel that it wants with other params', async () => {
		const { tabs, stream } = await openTabs(1);
		const tab = await browser.open();
		await tab.subscribe({ channel: demo, params: { scope: 'small' } });
		await settle(GATHERED_MS);
		expect(browser.endpoint.open).toHaveLength(2);
		browser.endpoint.last.accept('e-1').message('demo', 'count', 7, 'e-7');
		await say(stream, 2);
		expect(tabs[0]!.heard.demo).toEqual([2]);
		expect(tab.heard.demo).toEqual([7]);
	});
});

test('an endpoint is the same however its address is written', async () => {
	const tabs = [
		await browser.open({ endpoint: '/api/events' }),
		await browser.open({ endpoint: 'http://localhost/api/events' }),
		await browser.open({ endpoint: '../api/events' })
	];
	await settle(GATHERED_MS);
	expect(browser.endpoint.streams).toHaveLength(1);
	expect(tabs.filter(leads)).toHaveLength(1);
});

test('params need not be such as can be sent to another page', async () => {
	const tab = await browser.open();
	const tags = new Proxy(['a'], {});
	await tab.subscribe({ channel: demo, params: { tags } as never });
	await settle(GATHERED_MS);
	expect(browser.endpoint.last.body.params).toEqual({ tags: ['a'] });
	expect(leads(tab)).toBe(true);
});

test('a leader whose lock is taken away waits for it again', async () => {
	const { tabs } = await openTabs(2);
	let giveBack = (): void => {};
	const foreign = await browser.open({ shareTabs: 'bob' });
	const [channel] = [...browser.channels].filter(({ tab }) => tab === tabs[0]);
	void browser.request(foreign, channel!.name, { steal: true }, () => {
		return new Promise<void>((resolve) => (giveBack = resolve));
	});
	await settle();
	giveBack();
	await settle(GATHERED_MS);
	expect(tabs.filter(leads)).toHaveLength(1);
	browser.endpoint.last.accept();
	await settle();
	for (const tab of tabs) expect(status(tab)).toBe('connected');
	expect(tabs.flatMap(({ failures }) => failures)).toEqual([]);
});

test('a message that cannot be read is told to the topic in every tab', async () => {
	vi.spyOn(console, 'error').mockImplementation(() => {});
	const { tabs, stream } = await openTabs(3);
	// What hooks of these topics read.
	for (const tab of tabs) for (const name of ['count', 'message']) tab.state('demo').topic(name);
	stream.write('event: message\ndata: {"channel":"demo","topic":"count","data":oops}\n\n');
	await settle();
	for (const tab of tabs) {
		const { arrival } = tab.state('demo').topic('count');
		expect(arrival?.raw).toContain('oops');
		expect(arrival?.error).toBeInstanceOf(SyntaxError);
		expect(tab.state('demo').topic('message').arrival).toBe(null);
		expect(tab.failures).toMatchObject([{ source: 'parse', channelId: 'demo' }]);
	}
});

test('a channel that is denied concerns the tabs that want it; the others go on', async () => {
	const { tabs } = await openTabs(2);
	const [first, second] = tabs as [FakeTab, FakeTab];
	await second.subscribe({ channel: demo }, { channel: user, channelParams: 'eve' });
	await settle(1_000);
	const next = browser.endpoint.last.open();
	next.health('demo', 'connected', { cursor: 'e-1' });
	next.health('user:eve', 'degraded', { code: 403, fatal: true, detail: 'Not yours.' });
	await settle();
	expect(second.health('user:eve')).toMatchObject({ status: 'degraded', code: 403 });
	expect(second.failures).toMatchObject([{ channelId: 'user:eve', status: 403, fatal: true }]);
	expect(first.failures).toEqual([]);
	await settle(1_000);
	await say(browser.endpoint.open.at(-1)!, 2);
	for (const tab of tabs) expect(tab.heard.demo).toEqual([2]);
});

test('a leader waits as long as the server asks, and so do the others', async () => {
	const { stream } = await openTabs(3);
	stream.fail();
	await settle(5_000);
	browser.endpoint.last.refuse(503, 'Busy', { 'retry-after': '20' });
	await settle();
	const requests = browser.endpoint.streams.length;
	await settle(19_000);
	expect(browser.endpoint.streams).toHaveLength(requests);
	await settle(15_000);
	expect(browser.endpoint.streams).toHaveLength(requests + 1);
});

describe('pauseOnHidden', () => {
	const hide = (tab: FakeTab): void => tab.run(() => tab.page.show(false));
	const show = (tab: FakeTab): void => tab.run(() => tab.page.show(true));

	test('pauses a follower by itself', async () => {
		const { tabs, stream } = await openTabs(2, { pauseOnHidden: 1_000 });
		const [first, second] = tabs as [FakeTab, FakeTab];
		hide(second);
		await settle(999);
		expect(status(second)).toBe('connected');
		await settle(1);
		expect(second.bus.status.current).toEqual({ status: 'paused', reason: 'hidden' });
		await say(stream, 2);
		expect(first.heard.demo).toEqual([2]);
		expect(second.heard.demo).toEqual([]);
		show(second);
		await settle();
		browser.endpoint.last.accept('e-1').message('demo', 'count', 2, 'e-2');
		await settle();
		expect(second.heard.demo).toEqual([2]);
		expect(browser.endpoint.open).toEqual([stream]);
	});

	test('of the leader hands its stream to a tab that is visible', async () => {
		const { tabs, stream } = await openTabs(2, { pauseOnHidden: 1_000 });
		const [first, second] = tabs as [FakeTab, FakeTab];
		hide(first);
		await settle(1_000 + GATHERED_MS);
		expect(stream.aborted).toBe(true);
		expect(tabs.map(leads)).toEqual([undefined, true]);
		await say(browser.endpoint.last.accept(), 2);
		expect(second.heard.demo).toEqual([2]);
		expect(first.bus.status.current).toEqual({ status: 'paused', reason: 'hidden' });
	});

	test('of a follower does not take the stream from a leader that is hidden without it', async () => {
		const leading = await browser.open();
		const other = await browser.open({ pauseOnHidden: 1_000 });
		await settle(GATHERED_MS);
		const stream = browser.endpoint.last.accept('e-1');
		await settle();
		hide(leading);
		await settle(60_000);
		await say(stream, 2);
		for (const tab of [leading, other]) expect(tab.heard.demo).toEqual([2]);
	});
});

test('sharing can be turned off and on again while a tab is open', async () => {
	const { tabs, stream } = await openTabs(2);
	const [first, second] = tabs as [FakeTab, FakeTab];
	await second.set({ shareTabs: false });
	const own = browser.endpoint.last.accept();
	await say(stream, 2);
	await say(own, 2);
	expect(leads(second)).toBe(undefined);
	await second.set({ shareTabs: 'alice' });
	await say(stream, 3);
	expect(browser.endpoint.open).toEqual([stream]);
	for (const tab of [first, second]) expect(tab.heard.demo).toEqual([2, 3]);
});
