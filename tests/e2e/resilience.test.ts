import type { Page } from 'playwright';
import { afterEach, expect, test } from 'vitest';
import type { Visitor } from './support/app.js';
import { count, grows, type Count } from './support/counts.js';
import { Tab } from './support/tab.js';
import { useApp } from './support/useApp.js';

const app = useApp();
let publisher: Publisher;
afterEach(() => publisher.stop());

/** Publishes 1, 2, 3 … on somebody's channel until it is stopped. */
class Publisher {
	sent = 0;
	readonly #timer: NodeJS.Timeout;

	constructor(name: string) {
		this.#timer = setInterval(() => {
			const data = { run: 'test', n: ++this.sent };
			app.engine.publish({ channel: `counter:${name}`, topic: 'number', data });
		}, 20);
	}

	/** Waits until it has sent some more. */
	async sends(some: number): Promise<void> {
		const before = this.sent;
		await expect.poll(() => this.sent).toBeGreaterThan(before + some);
	}

	stop(): void {
		clearInterval(this.#timer);
	}
}

/** A page that counts what is published. */
async function counting(): Promise<Visitor> {
	const visitor = await app.visit('/break');
	publisher = new Publisher(visitor.name);
	await grows(visitor.page, 'Received', 20);
	return visitor;
}

/** Expects each number to have come once, or to be missing as announced. */
async function expectIntact(page: Page, gaps = 0): Promise<void> {
	await grows(page, 'Received', 20);
	publisher.stop();
	const accounted = async () =>
		(await count(page, 'Received')) + (await count(page, 'Lost in gaps'));
	await expect.poll(accounted).toBe(publisher.sent);
	expect(await count(page, 'Announced gaps')).toBe(gaps);
	expect(await count(page, 'Lost silently')).toBe(0);
	expect(await count(page, 'Repeated')).toBe(0);
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
	await expectIntact(page);
	expect(await page.evaluate(() => (window as { seen?: unknown }).seen)).toEqual([]);
	expect(await count(page, 'Replayed')).toBe(0);
});

test('a server that is killed and comes back costs one announced gap', async () => {
	const { page, forgive } = await counting();
	await app.restart();
	await expectIntact(page, 1);
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
	await expectIntact(page);
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
	await expectIntact(page);
	expect(await page.evaluate(() => (window as { persisted?: boolean }).persisted)).toBe(true);
	expect(await count(page, 'Replayed')).toBeGreaterThan(40);
});

test('a tab that is hidden lets go of its stream, and goes on where it was once it is shown', async () => {
	const tab = await Tab.open(`${app.url}/break`);
	try {
		const health = () => tab.evaluate(`document.querySelector('.health')?.innerText`);
		const number = async (label: Count) =>
			Number(
				await tab.evaluate(
					`[...document.querySelectorAll('dt')].find((one) => one.innerText === '${label}')?.nextElementSibling.innerText`
				)
			);
		await expect.poll(health).toContain('connected');
		publisher = new Publisher(
			String(await tab.evaluate(`document.querySelector('#who strong').innerText.toLowerCase()`))
		);
		await expect.poll(() => number('Received')).toBeGreaterThan(20);
		await tab.hide();
		await expect.poll(health).toContain('the page is hidden');
		const received = await number('Received');
		await publisher.sends(50);
		expect(await number('Received')).toBe(received);
		await tab.show();
		await expect.poll(() => number('Replayed')).toBeGreaterThan(40);
		publisher.stop();
		await expect.poll(() => number('Received')).toBe(publisher.sent);
		for (const label of ['Announced gaps', 'Lost silently', 'Repeated'] as const) {
			expect(await number(label)).toBe(0);
		}
	} finally {
		await tab.close();
	}
});
