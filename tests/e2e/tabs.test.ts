import type { Browser, BrowserContext, Page } from 'playwright';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { launchBrowser } from '../support/browser.js';
import { numbers } from '../support/tabs/channels.js';
import { Site } from '../support/tabs/site.js';
import type { TabSettings } from '../support/tabs/tab.js';

let site: Site;
let browser: Browser;
let context: BrowserContext;

beforeAll(async () => {
	[site, browser] = await Promise.all([
		Site.open(),
		launchBrowser({ ignoreDefaultArgs: ['--disable-back-forward-cache'] })
	]);
}, 60_000);
afterAll(async () => {
	await browser?.close();
	await site?.close();
});
beforeEach(async () => {
	context = await browser.newContext();
});
afterEach(async () => {
	site.stop();
	const pages = context.pages().filter((page) => page.url().startsWith(site.origin));
	const errors = await Promise.all(
		pages.map((page) => page.evaluate(() => window.tab.record.errors).catch(() => []))
	);
	await context.close();
	await expect.poll(() => site.streams).toBe(0);
	expect(errors.flat()).toEqual([]);
});

async function open(settings?: TabSettings): Promise<Page> {
	const page = await context.newPage();
	await page.goto(site.url(settings));
	return page;
}

/** Opens a tab and waits until it is connected. */
async function live(settings?: TabSettings): Promise<Page> {
	const page = await open(settings);
	await connected(page);
	return page;
}

async function connected(page: Page): Promise<void> {
	await expect.poll(() => page.evaluate(() => window.tab.status())).toBe('connected');
}

const heard = (page: Page, channel = 'numbers'): Promise<number[]> =>
	page.evaluate((channel) => window.tab.record.heard[channel] ?? [], channel);

/** Waits until a tab has the newest number, and expects each since its first once and in order. */
async function intact(page: Page): Promise<void> {
	await expect.poll(async () => (await heard(page)).at(-1)).toBe(site.sent);
	const all = await heard(page);
	expect(all).toEqual(Array.from({ length: all.length }, (_, index) => all[0]! + index));
}

/** The tab that leads. */
async function leader(pages: readonly Page[]): Promise<Page> {
	const roles = await Promise.all(pages.map((page) => page.evaluate(() => window.tab.role())));
	expect(roles.filter(Boolean)).toHaveLength(1);
	return pages[roles.indexOf(true)]!;
}

/** Ends the process behind a page, as a crash does. */
async function crash(page: Page): Promise<void> {
	const session = await context.newCDPSession(page);
	const crashed = page.waitForEvent('crash');
	void session.send('Page.crash').catch(() => {});
	await crashed;
}

test('20 tabs share one stream and a plain fetch answers; ten leaders in a row are closed at 100 messages a second, and nobody misses or repeats one', async () => {
	const first = await live();
	const pages = [first, ...(await Promise.all(Array.from({ length: 19 }, () => live())))];
	expect(site.streams).toBe(1);
	expect(await pages[7]!.evaluate(async () => (await fetch('/ping')).text())).toBe('pong');
	const before = site.sent;
	site.start(100);
	for (let closed = 0; closed < 10; closed++) {
		const leading = await leader(pages);
		pages.splice(pages.indexOf(leading), 1);
		const at = site.sent;
		await leading.close();
		await expect.poll(() => site.streams).toBe(1);
		await expect.poll(async () => (await heard(pages[0]!)).at(-1)).toBeGreaterThan(at + 20);
	}
	site.stop();
	await Promise.all(pages.map(intact));
	for (const page of pages) {
		expect((await heard(page))[0]).toBe(before + 1);
		expect(await page.evaluate(() => window.tab.record.resyncs)).toEqual([]);
		expect(await page.evaluate(() => window.tab.record.failures)).toEqual([]);
	}
	expect(site.streams).toBe(1);
}, 120_000);

test('a leader that crashes is followed by another', async () => {
	const pages = [await live(), await live(), await live()];
	site.start(100);
	await expect.poll(async () => (await heard(pages[2]!)).length).toBeGreaterThan(20);
	const crashing = await leader(pages);
	pages.splice(pages.indexOf(crashing), 1);
	await crash(crashing);
	const at = site.sent;
	await expect.poll(async () => (await heard(pages[0]!)).at(-1)).toBeGreaterThan(at + 20);
	site.stop();
	await Promise.all(pages.map(intact));
	expect(site.streams).toBe(1);
});

test('a leader that is frozen loses the lead, and is not listened to when it thaws', async () => {
	const pages = [await live(), await live(), await live()];
	const frozen = await leader(pages);
	const session = await context.newCDPSession(frozen);
	const others = pages.filter((page) => page !== frozen);
	site.start(50);
	await expect.poll(async () => (await heard(others[1]!)).length).toBeGreaterThan(20);
	// Like a page of which nothing runs any more: neither timers, nor streams, nor messages.
	await session.send('Debugger.enable');
	await session.send('Debugger.pause');
	void frozen.evaluate(() => window.tab.status()).catch(() => {});
	await expect
		.poll(() => Promise.all(others.map((page) => page.evaluate(() => window.tab.role()))))
		.toContain(true);
	const at = site.sent;
	await expect.poll(async () => (await heard(others[0]!)).at(-1)).toBeGreaterThan(at + 20);
	await session.send('Debugger.resume');
	await session.send('Debugger.disable');
	await expect.poll(() => frozen.evaluate(() => window.tab.role())).toBe(false);
	site.stop();
	await Promise.all(pages.map(intact));
	await leader(pages);
	await expect.poll(() => site.streams).toBe(1);
});

test('tabs with another key, endpoint or params, or with a fetch of their own, share nothing', async () => {
	const settings: TabSettings[] = [
		{ shareTabs: 'alice' },
		{ shareTabs: 'alice' },
		{ shareTabs: 'bob' },
		{ shareTabs: 'bob', channels: { numbers: { params: { scope: 'small' } } } },
		{ shareTabs: 'bob', endpoint: '/api/others' },
		{ shareTabs: true, header: 'a' },
		{ shareTabs: true, header: 'b' }
	];
	const pages = await Promise.all(settings.map((one) => live(one)));
	await expect.poll(() => site.streams).toBe(6);
	site.publish();
	await Promise.all(pages.map(intact));
	for (const page of pages) expect(await heard(page)).toHaveLength(1);
});

test('tabs of one channel get its topics as each wants them, and channels of their own', async () => {
	const wants = [{ topics: ['number'] }, { topics: ['other'] }, {}];
	const pages = await Promise.all(
		wants.map((more, index) =>
			live({ shareTabs: true, channels: { numbers: more, [`e${index}`]: {} } })
		)
	);
	site.source.deliver('numbers', 'number', 1);
	site.source.deliver('numbers', 'other', 2);
	site.source.deliver('extra:e1', 'number', 3);
	await expect.poll(() => heard(pages[2]!)).toEqual([1, 2]);
	await expect.poll(() => heard(pages[0]!)).toEqual([1]);
	await expect.poll(() => heard(pages[1]!)).toEqual([2]);
	await expect.poll(() => heard(pages[1]!, 'extra:e1')).toEqual([3]);
	expect(await heard(pages[0]!, 'extra:e1')).toEqual([]);
});

test('what nobody wants any more leaves the stream, also after a crash', async () => {
	const [first, second] = [await live(), await live({ shareTabs: true, channels: { a: {} } })];
	const third = await live({ shareTabs: true, channels: { b: {} } });
	expect(site.streams).toBe(1);
	await leader([first, second, third]);
	await crash(third);
	await second.evaluate(() => window.tab.set({ channels: { numbers: {} } }));
	await connected(second);
	site.publish();
	await intact(second);
	expect(site.streams).toBe(1);
});

test('a tab begins where it would alone: with its history, after its cursor, or now', async () => {
	const first = await live();
	for (let count = 0; count < 5; count++) site.publish();
	await intact(first);
	const cursor = await first.evaluate(() => window.tab.record.bus!.state('numbers').cursor);
	const [epoch, position] = cursor.split('-');
	const since = `${epoch}-${Number(position) - 2}`;
	const [past, after, fresh] = await Promise.all([
		live({ shareTabs: true, channels: { numbers: { history: 3 } } }),
		live({ shareTabs: true, channels: { numbers: { since } } }),
		live()
	]);
	await expect.poll(() => heard(past!)).toHaveLength(3);
	await expect.poll(() => heard(after!)).toHaveLength(2);
	expect(await heard(fresh!)).toEqual([]);
	// Each has caught up, and follows the one stream that is left.
	await expect.poll(() => site.streams).toBe(1);
	site.publish();
	await Promise.all([first, past!, after!, fresh!].map(intact));
	expect(await heard(fresh!)).toHaveLength(1);
});

test('a takeover costs one request, whatever the number of tabs', async () => {
	const pages = [await live(), await live(), await live(), await live()];
	site.publish();
	await Promise.all(pages.map(intact));
	const leading = await leader(pages);
	const before = site.requests;
	await leading.close();
	const others = pages.filter((page) => page !== leading);
	await expect.poll(() => site.requests).toBe(before + 1);
	await Promise.all(others.map(connected));
	site.publish();
	await Promise.all(others.map(intact));
	expect(site.requests).toBe(before + 1);
});

test('members, questions and reconnects reach every tab', async () => {
	const [first, second] = [await live(), await live()];
	const count = (page: Page) => page.evaluate(() => window.tab.record.people!.current.length);
	await expect.poll(() => count(first)).toBe(1);
	await expect.poll(() => count(second)).toBe(1);
	await second.evaluate(() => window.tab.record.people!.update({ mood: 'good' }));
	await expect
		.poll(() => first.evaluate(() => window.tab.record.people!.self?.data))
		.toEqual({ name: 'Alice', mood: 'good' });
	// Tabs that share a stream count as one.
	expect(await first.evaluate(() => window.tab.record.people!.self?.streams)).toBe(1);
	await second.evaluate(() => {
		window.tab.record.answer = 'second';
	});
	expect([null, 'second']).toContain(await site.realtime.ask('alice', numbers().other, 1));
	site.cut();
	await Promise.all([first, second].map(connected));
	site.publish();
	await Promise.all([first, second].map(intact));
	for (const page of [first, second]) {
		await expect
			.poll(() => page.evaluate(() => window.tab.record.failures.map(({ source }) => source)))
			.toEqual(['stream']);
	}
	await first.evaluate(() => (window.tab.record.errors.length = 0));
});

test('a refused channel is refused in every tab, and tried again for the next one', async () => {
	site.isOpen = false;
	const settings = { shareTabs: true, channels: { locked: {} } };
	const first = await open(settings);
	const statuses = (page: Page) =>
		page.evaluate(() => window.tab.record.failures.map(({ status, fatal }) => [status, fatal]));
	await expect.poll(() => statuses(first)).toEqual([[403, true]]);
	expect(await first.evaluate(() => window.tab.status())).toBe('degraded');
	site.isOpen = true;
	const second = await live(settings);
	await connected(first);
	expect(await statuses(second)).toEqual([]);
	for (const page of [first, second]) await page.evaluate(() => (window.tab.record.errors = []));
});

test('a tab that is signed out, or gone, receives nothing more', async () => {
	const [first, second] = [await live({ shareTabs: 'alice' }), await live({ shareTabs: 'alice' })];
	site.publish();
	await Promise.all([first, second].map(intact));
	await first.evaluate(() => window.tab.set({ isGone: true }));
	await second.evaluate(() => window.tab.set({ shareTabs: 'bob' }));
	await connected(second);
	site.publish();
	await intact(second);
	expect(await heard(first)).toHaveLength(1);
	expect(site.streams).toBe(1);
});

test('a page in the back/forward cache is no member, and goes on where it was', async () => {
	const [first, second] = [await live(), await live()];
	site.publish();
	await Promise.all([first, second].map(intact));
	const leaving = await leader([first, second]);
	const other = leaving === first ? second : first;
	await leaving.evaluate(() =>
		addEventListener('pageshow', ({ persisted }) => Object.assign(window, { persisted }))
	);
	await leaving.goto(`${site.origin}/ping`);
	await expect.poll(() => other.evaluate(() => window.tab.role())).toBe(true);
	site.publish();
	await intact(other);
	await leaving.goBack({ waitUntil: 'commit' });
	await intact(leaving);
	expect(await leaving.evaluate(() => (window as { persisted?: boolean }).persisted)).toBe(true);
	await expect.poll(() => site.streams).toBe(1);
});

test('what was wanted while the code of sharing was loaded does not come back afterwards', async () => {
	const page = await live({ shareTabs: false });
	let goOn = (): void => {};
	const isHeld = new Promise<void>((resolve) => (goOn = resolve));
	await page.route('**/assets/share-*', async (route) => {
		await isHeld;
		await route.continue();
	});
	const asked = page.waitForRequest('**/assets/share-*');
	await page.evaluate(() => window.tab.set({ shareTabs: true, channels: { other: {} } }));
	await asked;
	await page.evaluate(() => window.tab.set({ shareTabs: false, channels: { numbers: {} } }));
	const answered = page.waitForResponse('**/assets/share-*');
	goOn();
	await (await answered).finished();
	await connected(page);
	site.publish();
	await intact(page);
	expect(await page.evaluate(() => window.tab.record.bus!.subscriptions.length)).toBe(1);
	site.publish();
	await intact(page);
});

test('managers of one page share, nested ones as well', async () => {
	const first = await live({ shareTabs: true, nested: { inner: {} } });
	const second = await live({ shareTabs: true, nested: { inner: {} } });
	await expect.poll(() => site.streams).toBe(1);
	for (const page of [first, second]) {
		await expect
			.poll(() => page.evaluate(() => window.tab.record.inner!.status.current.status))
			.toBe('connected');
	}
	site.publish();
	site.source.deliver('extra:inner', 'number', 7);
	for (const page of [first, second]) {
		await intact(page);
		await expect.poll(() => heard(page, 'extra:inner')).toEqual([7]);
	}
	expect(site.streams).toBe(1);
});

test('subscriptions that come and go in each tab disturb none of the others', async () => {
	const pages = await Promise.all(
		['a', 'b', 'c'].map((name) => live({ shareTabs: true, user: name }))
	);
	site.start(100);
	for (let round = 0; round < 6; round++) {
		await Promise.all(
			pages.slice(1).map((page, index) =>
				page.evaluate(
					([round, index]) =>
						window.tab.set({
							channels: { numbers: {}, ...((round! + index!) % 2 && { [`e${index}`]: {} }) }
						}),
					[round, index]
				)
			)
		);
		const at = site.sent;
		await expect.poll(async () => (await heard(pages[0]!)).at(-1)).toBeGreaterThan(at + 10);
	}
	site.stop();
	await Promise.all(pages.map(intact));
	for (const page of pages) {
		expect(await page.evaluate(() => window.tab.record.resyncs)).toEqual([]);
		expect(await page.evaluate(() => window.tab.record.failures)).toEqual([]);
	}
	await expect.poll(() => site.streams).toBe(1);
});

test('where the browser has no locks or no channels, each tab has its own stream', async () => {
	for (const name of ['navigator.locks', 'BroadcastChannel']) {
		const page = await context.newPage();
		await page.addInitScript(
			(name) =>
				name === 'BroadcastChannel'
					? Reflect.deleteProperty(window, name)
					: Object.defineProperty(navigator, 'locks', { value: undefined }),
			name
		);
		await page.goto(site.url());
		await connected(page);
	}
	expect(site.streams).toBe(2);
});

test('the inspector shows who leads', async () => {
	const [first, second] = [
		await live({ shareTabs: true, inspector: true }),
		await live({ shareTabs: true, inspector: true })
	];
	await first.getByRole('heading', { name: 'leads the tabs' }).waitFor();
	await second.getByRole('heading', { name: 'follows another tab' }).waitFor();
});
