import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Locator, Request } from 'playwright';
import { expect, test } from 'vitest';
import { pages } from '../../src/demo/pages.js';
import { ROOT } from './support/build.js';
import { useApp } from './support/useApp.js';

const app = useApp();
const CLIENT = join(ROOT, 'build/client');

const isFocused = (element: Locator): Promise<boolean> =>
	element.evaluate((one) => one === document.activeElement);

/** What a form sends: an action or an event, unlike a stream, or what a table fetches when it likes. */
const isSent = (request: Request): boolean =>
	'x-sveltekit-action' in request.headers() ||
	/^\{"event":"(?!sync\/\w+\/fetch")/.test(request.postData() ?? '');

test.each(pages)('on $path the focus stays on the button that was pressed', async ({ path }) => {
	const { page, signIn, forgive } = await app.visit(path);
	// Whatever takes the focus may do so late, so that all of it is noted.
	await page.evaluate(() => {
		const lost: string[] = ((window as { lost?: unknown }).lost = []);
		addEventListener('focusout', ({ target, relatedTarget }) => {
			if (!(relatedTarget as Element | null)?.matches('button, input')) {
				lost.push((target as HTMLElement).innerText);
			}
		});
	});
	const fill = async (): Promise<void> => {
		for (const input of await page.locator('form input[required]').all())
			await input.fill('A text');
	};
	await fill();
	const buttons = page.locator('form button:enabled');
	expect(await buttons.count()).toBeGreaterThan(2);
	for (const button of await buttons.all()) {
		await button.focus();
		const answered = page.waitForResponse((response) => isSent(response.request()));
		await page.keyboard.press('Enter');
		await answered;
		await fill();
	}
	await signIn('Member');
	expect(await page.evaluate(() => (window as { lost?: string[] }).lost)).toEqual([]);
	// The first button signs out.
	forgive(/403/);
});

test('a button that disappears hands the focus on', async () => {
	const { page, signIn, forgive } = await app.visit('/');
	await signIn('Signed out');
	const demo = page.getByLabel('Channel demo');
	await demo.getByRole('button', { name: 'Try again' }).focus();
	const answered = page.waitForResponse((response) => response.url().endsWith('/api/events'));
	await page.keyboard.press('Enter');
	await answered;
	await demo.getByRole('button', { name: 'Try again' }).waitFor();
	expect(await isFocused(demo.locator('.health'))).toBe(true);
	forgive(/403/);
});

test('a button that works for a while keeps the focus', async () => {
	const { page } = await app.visit('/break');
	const button = page.getByRole('button', { name: 'Change subscriptions ten times' });
	await button.focus();
	await page.keyboard.press('Enter');
	// Browsers take the focus from a disabled button with the next frame.
	await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done))));
	expect(await isFocused(button)).toBe(true);
});

test('a form that cannot reach the server says so, and the page stays', async () => {
	const { page, forgive } = await app.visit('/');
	const close = page.getByRole('button', { name: 'Close the gate' });
	await page.context().setOffline(true);
	await close.click();
	await page.getByRole('alert').getByText('The server did not answer').waitFor();
	await page.getByRole('heading', { name: 'Live values' }).waitFor();
	await page.context().setOffline(false);
	await close.click();
	await page.getByText('The gate is closed.').waitFor();
	expect(await page.getByText('The server did not answer').count()).toBe(0);
	forgive(/ERR_/);
});

test('what is sent offline waits, and goes out when the network is back', async () => {
	const { page, forgive } = await app.visit('/');
	await page.context().setOffline(true);
	await page.getByLabel('Message').fill('From the tunnel');
	await page.getByRole('button', { name: 'To everyone' }).click();
	await page.getByText('You are offline. 1 waiting: sent when you are back.').waitFor();
	await page.context().setOffline(false);
	await page.getByLabel('Channel demo').getByText('From the tunnel').waitFor();
	expect(await page.getByText('You are offline.').count()).toBe(0);
	forgive(/ERR_/);
});

test('what the server does not accept is said below the form', async () => {
	const { page, forgive } = await app.visit('/');
	await page.getByLabel('Message').fill(' ');
	await page.getByRole('button', { name: 'To everyone' }).click();
	await page.getByRole('alert').getByText('Write a message first.').waitFor();
	forgive(/422/);
});

test('an address that does not exist leads back to the first page', async () => {
	const { page, forgive } = await app.visit('/nowhere');
	await page.getByRole('heading', { name: 'This page does not exist' }).waitFor();
	await page.getByRole('link', { name: 'Go to the first page' }).click();
	await page.getByRole('heading', { name: 'Live values' }).waitFor();
	forgive(/404/);
});

test('the built pages know the events, and nothing of what the server does with them', async () => {
	const files = await readdir(CLIENT, { recursive: true });
	const scripts = files.filter((file) => file.endsWith('.js'));
	const texts = await Promise.all(scripts.map((file) => readFile(join(CLIENT, file), 'utf8')));
	const code = texts.join('\n');
	expect(code).toContain('demo/job.cancel');
	// The names of what the handlers send to Inngest, and a text that one of them answers with.
	expect(code).not.toMatch(/app\/job\.cancelled|app\/demo\.message|is no longer running/);
});
