import type { Locator, Response } from 'playwright';
import { expect, test } from 'vitest';
import { pages } from '../../src/demo/pages.js';
import { useApp } from './support/useApp.js';

const app = useApp();

const isFocused = (element: Locator): Promise<boolean> =>
	element.evaluate((one) => one === document.activeElement);

/** A form's request, unlike that of a stream. */
const isAction = (response: Response): boolean =>
	'x-sveltekit-action' in response.request().headers();

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
		if (path === '/team') await page.getByLabel('Text').fill('A post');
	};
	await fill();
	const buttons = page.locator('form button:enabled');
	expect(await buttons.count()).toBeGreaterThan(2);
	for (const button of await buttons.all()) {
		await button.focus();
		const answered = page.waitForResponse(isAction);
		await page.keyboard.press('Enter');
		await (await answered).finished();
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
