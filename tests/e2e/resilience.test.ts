import { afterEach, expect, test } from 'vitest';
import type { Visitor } from './support/app.js';
import { count, grows } from './support/counts.js';
import { Publisher } from './support/publisher.js';
import { Tab } from './support/tab.js';
import { useApp } from './support/useApp.js';

const app = useApp();
let publisher: Publisher;
afterEach(() => publisher.stop());

/** A page that counts what is published. */
async function counting(): Promise<Visitor> {
	const visitor = await app.visit('/break');
	publisher = new Publisher(app.engine, visitor.name);
	await grows(visitor.page, 'Received', 20);
	return visitor;
}

test('ten subscription changes in a second cost a channel that stays nothing', async () => {
	const { page } = await counting();
	await page.evaluate(() => {
		const health = document.querySelector('.health strong') as HTMLElement;
		const seen: (string | null)[] = ((window as { seen?: unknown }).seen = []);
		new MutationObserver(() => seen.push(health.textContent)).observe(health, {
			characterData: true,
			childList: true,
			subtree: true
		});
	});
	const button = page.getByRole('button', { name: 'Change subscriptions ten times' });
	await button.click();
	await button.and(page.locator(':enabled')).waitFor();
	await publisher.expectIntact(page);
	expect(await page.evaluate(() => (window as { seen?: unknown }).seen)).toEqual([]);
	expect(await count(page, 'Replayed')).toBe(0);
});

test('a server that is killed and comes back costs one announced gap', async () => {
	const { page, forgive } = await counting();
	await app.restart();
	await publisher.expectIntact(page, 1);
	forgive(/ERR_|Failed to|50[0-9]/);
});

test('what is published while the browser is offline is replayed', async () => {
	const { page, forgive } = await counting();
	// DevTools refuse new requests only; streams that are open have to be cut.
	await page.context().setOffline(true);
	app.cut();
	await page.getByText('connecting', { exact: true }).waitFor();
	await publisher.sends(50);
	await page.context().setOffline(false);
	await publisher.expectIntact(page);
	expect(await count(page, 'Replayed')).toBeGreaterThan(40);
	forgive(/ERR_|Failed to/);
});

test('a page in the back/forward cache holds no stream, and goes on where it was', async () => {
	const { page } = await counting();
	await page.evaluate(() => {
		addEventListener('pageshow', ({ persisted }) => Object.assign(window, { persisted }));
	});
	await page.goto(`${app.url}/stats`);
	await publisher.sends(50);
	// What comes out of the cache does not load.
	await page.goBack({ waitUntil: 'commit' });
	await publisher.expectIntact(page);
	expect(await page.evaluate(() => (window as { persisted?: boolean }).persisted)).toBe(true);
	expect(await count(page, 'Replayed')).toBeGreaterThan(40);
});

test('a tab that is hidden lets go of its stream, and goes on where it was once it is shown', async () => {
	const tab = await Tab.open(`${app.url}/break`);
	try {
		const health = () => tab.evaluate(`document.querySelector('.health')?.innerText`);
		await expect.poll(health).toContain('connected');
		publisher = new Publisher(
			app.engine,
			await tab.evaluate<string>(`document.querySelector('#who strong').innerText.toLowerCase()`)
		);
		await grows(tab, 'Received', 20);
		await tab.hide();
		await expect.poll(health).toContain('the page is hidden');
		const received = await count(tab, 'Received');
		await publisher.sends(50);
		expect(await count(tab, 'Received')).toBe(received);
		await tab.show();
		await publisher.expectIntact(tab);
		expect(await count(tab, 'Replayed')).toBeGreaterThan(40);
	} finally {
		await tab.close();
	}
});
