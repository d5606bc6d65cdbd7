import type { Locator } from 'playwright';
import { expect, test } from 'vitest';
import { pages } from '../../src/demo/pages.js';
import { useApp } from './support/useApp.js';

const app = useApp();

/** What has the focus, in words. */
const focused = (button: Locator): Promise<string> =>
	button.evaluate((element) => {
		const { activeElement } = document;
		return activeElement === element ? 'the button' : (activeElement?.tagName ?? 'nothing');
	});

test.each(pages)('on $path the focus stays on the button that was pressed', async ({ path }) => {
	const { page } = await app.visit(path);
	if (path === '/team') await page.getByLabel('Text').fill('A post');
	const buttons = page.locator('form button:enabled');
	expect(await buttons.count()).toBeGreaterThan(2);
	for (const button of await buttons.all()) {
		await button.focus();
		const answered = page.waitForResponse((response) => response.request().method() === 'POST');
		await page.keyboard.press('Enter');
		await (await answered).finished();
		// Whatever moves the focus does so after the answer, and after the data that is loaded with it.
		await page.waitForLoadState('networkidle', { timeout: 500 }).catch(() => {});
		expect(await focused(button)).toBe('the button');
		if (path === '/team') await page.getByLabel('Text').fill('A post');
	}
});

test('a button that disappears hands the focus on', async () => {
	const { page, signIn, forgive } = await app.visit('/');
	await signIn('Signed out');
	const demo = page.getByLabel('Channel demo');
	await demo.getByRole('button', { name: 'Try again' }).focus();
	await page.keyboard.press('Enter');
	await demo.getByText('connecting').waitFor();
	expect(await demo.locator('.health').evaluate((it) => it === document.activeElement)).toBe(true);
	await demo.getByText('Missing authenticated user').waitFor();
	expect(await demo.locator('.health').evaluate((it) => it === document.activeElement)).toBe(true);
	forgive(/403/);
});

test('a button that works for a while keeps the focus', async () => {
	const { page } = await app.visit('/break');
	const button = page.getByRole('button', { name: 'Change subscriptions ten times' });
	await button.focus();
	await page.keyboard.press('Enter');
	// Browsers take the focus from a disabled button with the next frame.
	await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done))));
	expect(await focused(button)).toBe('the button');
});

test('a form that cannot reach the server says so, and the page stays', async () => {
	const { page, forgive } = await app.visit('/');
	await page.context().setOffline(true);
	await page.getByRole('button', { name: 'To everyone' }).click();
	await page.getByRole('alert').getByText('The server did not answer').waitFor();
	await page.getByRole('heading', { name: 'Live values' }).waitFor();
	await page.context().setOffline(false);
	await page.getByRole('button', { name: 'To everyone' }).click();
	await page.getByLabel('Channel demo').getByText('Hello').waitFor();
	expect(await page.getByText('The server did not answer').count()).toBe(0);
	forgive(/ERR_/);
});

test('an address that does not exist leads back to the first page', async () => {
	const { page, forgive } = await app.visit('/nowhere');
	await page.getByRole('heading', { name: 'This page does not exist' }).waitFor();
	await page.getByRole('link', { name: 'Go to the first page' }).click();
	await page.getByRole('heading', { name: 'Live values' }).waitFor();
	forgive(/404/);
});
