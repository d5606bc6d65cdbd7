import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { OTHERS, type BrowserTab, type OtherBrowser } from '../support/webdriver.js';
import { Site } from '../support/tabs/site.js';
import type { TabSettings } from '../support/tabs/tab.js';

let site: Site;
beforeAll(async () => {
	site = await Site.open();
}, 60_000);
afterAll(() => site?.close());

for (const { name, isHere } of OTHERS) {
	if (!isHere) console.info(`${name} is not installed: its tests are skipped.`);
}

describe.each(OTHERS)('in $name', ({ isHere, start }) => {
	let browser: OtherBrowser;
	beforeAll(async () => {
		if (isHere) browser = await start();
	}, 60_000);
	afterAll(() => browser?.close());

	async function live(settings: TabSettings = {}): Promise<BrowserTab> {
		const tab = await browser.open();
		await tab.goto(site.url(settings));
		await connected(tab);
		return tab;
	}

	const connected = (tab: BrowserTab): Promise<void> =>
		expect
			.poll(() => tab.evaluate<string>(`window.tab?.status()`), { timeout: 15_000 })
			.toBe('connected');

	const heard = (tab: BrowserTab): Promise<number[]> =>
		tab.evaluate<number[]>(`window.tab.record.heard.numbers ?? []`);

	/** Waits until a tab has the newest number, and expects each since its first once and in order. */
	async function intact(tab: BrowserTab): Promise<void> {
		await expect.poll(async () => (await heard(tab)).at(-1), { timeout: 15_000 }).toBe(site.sent);
		const all = await heard(tab);
		expect(all).toEqual(Array.from({ length: all.length }, (_, index) => all[0]! + index));
		expect(await tab.evaluate(`window.tab.record.errors`)).toEqual([]);
	}

	test.runIf(isHere)('tabs share a stream, and go on when the leader is closed', async () => {
		const settings = { shareTabs: true };
		const tabs = [await live(settings), await live(settings), await live(settings)];
		await expect.poll(() => site.streams).toBe(1);
		site.start(50);
		await expect.poll(async () => (await heard(tabs[2]!)).length).toBeGreaterThan(20);
		const roles = await Promise.all(tabs.map((tab) => tab.evaluate(`window.tab.role()`)));
		const [leader] = tabs.splice(roles.indexOf(true), 1);
		await leader!.close();
		const at = site.sent;
		await expect
			.poll(async () => (await heard(tabs[0]!)).at(-1), { timeout: 10_000 })
			.toBeGreaterThan(at + 20);
		site.stop();
		for (const tab of tabs) await intact(tab);
		expect(site.streams).toBe(1);
		for (const tab of tabs) await tab.close();
		await expect.poll(() => site.streams, { timeout: 10_000 }).toBe(0);
	});

	test.runIf(isHere)('a cut stream is resumed, and nothing is missing or repeated', async () => {
		const tab = await live();
		site.start(50);
		await expect.poll(async () => (await heard(tab)).length).toBeGreaterThan(20);
		site.cut();
		const at = site.sent;
		await expect
			.poll(async () => (await heard(tab)).at(-1), { timeout: 15_000 })
			.toBeGreaterThan(at + 20);
		site.stop();
		await intact(tab);
		await tab.close();
		await expect.poll(() => site.streams, { timeout: 10_000 }).toBe(0);
	});

	test.runIf(isHere)('50 navigations leave no stream and no error behind', async () => {
		const tab = await live({ shareTabs: true });
		for (let visit = 0; visit < 50; visit++) {
			await tab.goto(`${site.origin}/${visit}${new URL(site.url()).hash}`);
			if (visit % 10 === 0) await connected(tab);
		}
		await connected(tab);
		await expect.poll(() => site.streams, { timeout: 10_000 }).toBe(1);
		expect(await tab.evaluate(`window.tab.record.errors`)).toEqual([]);
		expect(await tab.evaluate(`window.tab.record.failures`)).toEqual([]);
		await tab.close();
		await expect.poll(() => site.streams, { timeout: 10_000 }).toBe(0);
	});
});
