import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { pages } from '../../src/demo/pages.js';
import { CHROMIUM, OTHERS, type AnyBrowser, type BrowserTab } from '../support/webdriver.js';
import { Site } from '../support/tabs/site.js';
import type { TabSettings } from '../support/tabs/tab.js';
import { startDemo, type Demo } from './support/app.js';
import { count, grows } from './support/counts.js';
import { Publisher } from './support/publisher.js';

let site: Site;
let demo: Demo;
beforeAll(async () => {
	[site, demo] = await Promise.all([Site.open(), startDemo()]);
}, 120_000);
afterAll(() => Promise.all([site?.close(), demo?.close()]));

for (const { name, isHere } of OTHERS) {
	if (!isHere) console.info(`${name} is not installed: its tests are skipped.`);
}

describe.each([CHROMIUM, ...OTHERS])('in $name', ({ name, isHere, start }) => {
	let browser: AnyBrowser;
	const tabs = new Set<BrowserTab>();
	beforeAll(async () => {
		if (isHere) browser = await start();
	}, 60_000);
	afterAll(() => browser?.close());
	afterEach(async () => {
		site.stop();
		const problems = await Promise.all([...tabs].map((tab) => tab.problems()));
		for (const tab of tabs) await close(tab);
		await expect.poll(() => site.streams).toBe(0);
		expect(problems.flat()).toEqual([]);
	});

	async function open(url: string): Promise<BrowserTab> {
		const tab = await browser.open();
		tabs.add(tab);
		await tab.goto(url);
		return tab;
	}

	async function close(tab: BrowserTab): Promise<void> {
		tabs.delete(tab);
		await tab.close();
	}

	/** Waits until a JavaScript expression is true on the page. */
	const until = (tab: BrowserTab, expression: string): Promise<void> =>
		expect
			.poll(() => tab.evaluate(`Boolean(${expression})`), {
				interval: 30,
				message: expression
			})
			.toBe(true);

	describe('tabs', () => {
		async function live(settings: TabSettings = {}): Promise<BrowserTab> {
			const tab = await open(site.url(settings));
			await until(tab, `window.tab?.status() === 'connected'`);
			return tab;
		}

		const heard = (tab: BrowserTab): Promise<number[]> =>
			tab.evaluate<number[]>(`window.tab.record.heard.numbers ?? []`);

		/** Waits until a tab has the newest number, and expects each since its first once and in order. */
		async function intact(tab: BrowserTab): Promise<void> {
			await expect.poll(async () => (await heard(tab)).at(-1)).toBe(site.sent);
			const all = await heard(tab);
			expect(all).toEqual(Array.from({ length: all.length }, (_, index) => all[0]! + index));
		}

		// In Chromium, tabs.test.ts does much more than this.
		test.runIf(isHere && name !== 'Chromium')(
			'share a stream, and go on when the leader is closed',
			async () => {
				const settings = { shareTabs: true };
				const tabs = [await live(settings), await live(settings), await live(settings)];
				await expect.poll(() => site.streams).toBe(1);
				site.start(50);
				await expect.poll(async () => (await heard(tabs[2]!)).length).toBeGreaterThan(20);
				const roles = await Promise.all(tabs.map((tab) => tab.evaluate(`window.tab.role()`)));
				const [leader] = tabs.splice(roles.indexOf(true), 1);
				await close(leader!);
				const at = site.sent;
				await expect.poll(async () => (await heard(tabs[0]!)).at(-1)).toBeGreaterThan(at + 20);
				site.stop();
				for (const tab of tabs) await intact(tab);
				expect(site.streams).toBe(1);
			}
		);

		test.runIf(isHere)('pause each by itself while it is hidden', async () => {
			const settings = { shareTabs: true, pauseOnHidden: 300 };
			const [first, second] = [await live(settings), await live(settings)];
			await first.hide();
			await second.show();
			await until(first, `tab.record.bus.status.current.reason === 'hidden'`);
			await until(second, `tab.role() && tab.status() === 'connected'`);
			await expect.poll(() => site.streams).toBe(1);
			const before = site.sent;
			site.publish();
			await intact(second);
			expect(await heard(first)).not.toContain(site.sent);
			await second.hide();
			await first.show();
			await intact(first);
			expect(await heard(first)).toEqual([before + 1]);
			await until(second, `tab.record.bus.status.current.reason === 'hidden'`);
		});

		test.runIf(isHere)('keep a leader that is hidden and does not pause', async () => {
			const first = await live({ shareTabs: true });
			const second = await live({ shareTabs: true, pauseOnHidden: 60_000 });
			await first.hide();
			await second.show();
			await until(first, `document.visibilityState === 'hidden'`);
			site.publish();
			for (const tab of [first, second]) await intact(tab);
			expect(await first.evaluate('tab.role()')).toBe(true);
			expect(site.streams).toBe(1);
		});

		test.runIf(isHere).each([true, false])(
			'keep nothing of 50 visits of managers, with shareTabs %o',
			async (shareTabs) => {
				const tab = await live({ shareTabs });
				/** Most visits end before they are connected. */
				const visit = (from: number, to: number): Promise<void> =>
					tab.evaluate(`(async () => {
						for (let visit = ${from}; visit < ${to}; visit++) {
							tab.set({ user: String(visit), channels: { numbers: {}, ['e' + (visit % 3)]: {} } });
							do await new Promise((resolve) => setTimeout(resolve, 10));
							while (visit % 5 === 0 && tab.status() !== 'connected');
						}
					})()`);
				const alive = async (): Promise<number> => {
					await tab.collectGarbage();
					return tab.evaluate(`tab.record.made.filter((one) => one.deref()).length`);
				};
				await visit(0, 6);
				const before = await alive();
				await visit(6, 56);
				await until(tab, `tab.status() === 'connected'`);
				await expect.poll(alive).toBeLessThan(before + 6);
				await expect.poll(() => site.streams).toBe(1);
				expect(await tab.evaluate(`tab.record.failures`)).toEqual([]);
				expect(await tab.evaluate(`tab.record.errors`)).toEqual([]);
			}
		);
	});

	describe('the demo', () => {
		const CONNECTED = `document.querySelector('.health .connected')`;
		const has = (text: string): string =>
			`document.body.innerText.includes(${JSON.stringify(text)})`;
		const nameOn = (tab: BrowserTab): Promise<string> =>
			tab.evaluate(`document.querySelector('#who strong').innerText.toLowerCase()`);

		const inOthers = test.runIf(isHere && name !== 'Chromium');
		const visit = (tab: BrowserTab, path: string): Promise<void> =>
			tab.evaluate(`document.querySelector('nav [href="${path}"]').click()`);
		/** Writes into the first field of the page, and sends its form. */
		const submit = (tab: BrowserTab, text: string): Promise<void> =>
			tab.evaluate(`(() => {
				const field = document.querySelector('main form input:not([type=hidden])');
				field.value = ${JSON.stringify(text)};
				field.dispatchEvent(new Event('input', { bubbles: true }));
				field.form.requestSubmit();
			})()`);

		inOthers('is live on each page', async () => {
			const tab = await open(demo.url);
			const name = await nameOn(tab);
			const publish = (channel: string, topic: string, data: object): void =>
				void demo.engine.publish({ channel, topic, data });
			const acts: Record<string, (text: string) => void | Promise<void>> = {
				'/': (message) => publish('demo', 'message', { message }),
				'/job': (note) =>
					publish(`job:${name}`, 'state', { id: '1', state: 'done', steps: [], note }),
				'/answer': () => tab.evaluate(`document.querySelector('main form button').click()`),
				'/team': (text) => publish('team', 'post', { from: 'somebody', text }),
				'/board': (text) => submit(tab, text),
				'/todos': (text) => submit(tab, text),
				'/nested': (message) => publish(`user:${name}`, 'message', { message }),
				'/break': () => publish(`counter:${name}`, 'number', { run: 'one', n: 1 }),
				'/stats': (message) => publish('demo', 'message', { message })
			};
			await tab.evaluate('(window.isSame = true)');
			for (const { path } of pages) {
				await visit(tab, path);
				await until(tab, `document.querySelector('nav [aria-current][href="${path}"]')`);
				await until(tab, path === '/todos' ? has('Online') : CONNECTED);
				const text = `Seen on ${path}`;
				await acts[path]!(text);
				if (path === '/break') await expect.poll(() => count(tab, 'Received')).toBe(1);
				else await until(tab, has(path === '/answer' ? 'Answering' : text));
			}
			// No page was loaded anew.
			expect(await tab.evaluate('window.isSame')).toBe(true);
		});

		test.runIf(isHere)('keeps nothing of 50 navigations', async () => {
			const tab = await open(demo.url);
			// Counts what pages attach to the window, and what of each visit is still there.
			await tab.evaluate(`(() => {
				const kept = (window.kept = { listeners: 0, made: [] });
				for (const target of [window, document]) {
					const { addEventListener, removeEventListener } = target;
					target.addEventListener = function (type, listener, options) {
						kept.listeners++;
						options?.signal?.addEventListener('abort', () => kept.listeners--);
						addEventListener.call(target, type, listener, options);
					};
					target.removeEventListener = function (...all) {
						kept.listeners--;
						removeEventListener.apply(target, all);
					};
				}
				const { fetch } = window;
				window.fetch = (url, init) => {
					if (init?.signal) kept.made.push(new WeakRef(init.signal));
					return fetch(url, init);
				};
			})()`);
			const visits = (count: number): Promise<void> =>
				tab.evaluate(`(async () => {
					const links = [...document.querySelectorAll('nav a')];
					for (let visit = 0; visit < ${count}; visit++) {
						const before = document.querySelector('main article');
						kept.made.push(new WeakRef(before));
						links[(visit + 1) % links.length].click();
						do await new Promise((resolve) => setTimeout(resolve, 5));
						while (document.querySelector('main article') === before);
						// Some are left before they are connected.
						while (visit % 3 === 0 && document.querySelector('.health .connecting'))
							await new Promise((resolve) => setTimeout(resolve, 5));
					}
				})()`);
			const alive = async (): Promise<Record<string, number>> => {
				await tab.collectGarbage();
				return tab.evaluate(
					`({ listeners: kept.listeners, made: kept.made.filter((one) => one.deref()).length })`
				);
			};
			const round = pages.length;
			const settled = `document.querySelectorAll('.health .connected').length === 2`;
			await visits(round);
			await until(tab, settled);
			const before = await alive();
			await visits(6 * round);
			await until(tab, settled);
			// Not one more for each round.
			await expect.poll(async () => (await alive()).made).toBeLessThan(before.made! + 6);
			expect((await alive()).listeners).toBeLessThanOrEqual(before.listeners!);
		});

		describe('keeps count', () => {
			let publisher: Publisher;
			afterEach(() => publisher?.stop());

			async function counting(): Promise<BrowserTab> {
				const tab = await open(`${demo.url}/break`);
				await until(tab, CONNECTED);
				publisher = new Publisher(demo.engine, await nameOn(tab));
				await grows(tab, 'Received', 20);
				return tab;
			}

			inOthers('when the server is killed and comes back: one announced gap', async () => {
				const tab = await counting();
				await demo.restart();
				await publisher.expectIntact(tab, 1);
			});

			inOthers('when the line is cut', async () => {
				const tab = await counting();
				demo.cut();
				await publisher.expectIntact(tab);
			});

			inOthers('when the browser is offline for a while', async ({ skip }) => {
				const tab = await counting();
				skip(!tab.setOffline, 'WebDriver cannot take WebKit off the network.');
				await tab.setOffline!(true);
				demo.cut();
				await until(tab, `document.querySelector('.health .connecting')`);
				await publisher.sends(25);
				await tab.setOffline!(false);
				await publisher.expectIntact(tab);
				expect(await count(tab, 'Replayed')).toBeGreaterThan(20);
			});

			inOthers('when the tab is hidden for a while', async () => {
				const tab = await counting();
				await tab.hide();
				await until(tab, has('the page is hidden'));
				const received = await count(tab, 'Received');
				await publisher.sends(25);
				expect(await count(tab, 'Received')).toBe(received);
				await tab.show();
				await publisher.expectIntact(tab);
				expect(await count(tab, 'Replayed')).toBeGreaterThan(20);
			});

			inOthers('when the page is in the back/forward cache', async ({ skip }) => {
				skip(name === 'Firefox', 'Firefox keeps no page there that has an open request.');
				const tab = await counting();
				await tab.evaluate(
					`addEventListener('pageshow', ({ persisted }) => Object.assign(window, { persisted }))`
				);
				await tab.goto(`${demo.url}/stats`);
				await publisher.sends(25);
				await tab.evaluate('history.back()');
				await until(tab, 'window.persisted');
				await publisher.expectIntact(tab);
				expect(await count(tab, 'Replayed')).toBeGreaterThan(20);
			});
		});
	});
});
