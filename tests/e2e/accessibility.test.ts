import axe from 'axe-core';
import type { Page } from 'playwright';
import { expect, test } from 'vitest';
import { pages } from '../../src/demo/pages.js';
import { useApp } from './support/useApp.js';

const app = useApp();

/** What axe finds on a page, of the two worse degrees. */
async function violations(page: Page): Promise<string[]> {
	await page.addScriptTag({ content: axe.source });
	const results = await page.evaluate(() => (window as unknown as { axe: typeof axe }).axe.run());
	return results.violations
		.filter(({ impact }) => impact === 'serious' || impact === 'critical')
		.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
}

test.each(pages)('$path can be used by all, on a phone and in the dark too', async ({ path }) => {
	const { page } = await app.visit(path);
	expect(await violations(page)).toEqual([]);
	await page.emulateMedia({ colorScheme: 'dark' });
	await page.setViewportSize({ width: 390, height: 844 });
	expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);

	await page.getByRole('button', { name: 'Show code' }).click();
	const dialog = page.getByRole('dialog');
	for (const file of await dialog.getByRole('group', { name: 'Files' }).getByRole('button').all()) {
		await file.click();
		const code = dialog.getByLabel(`src/${await file.innerText()}`);
		await expect.poll(async () => (await code.innerText()).length).toBeGreaterThan(50);
		expect(await code.innerText()).not.toMatch(/^There is no /);
	}
	expect(await violations(page)).toEqual([]);
	await page.keyboard.press('Escape');
	await dialog.waitFor({ state: 'hidden' });
	expect(await violations(page)).toEqual([]);
});
