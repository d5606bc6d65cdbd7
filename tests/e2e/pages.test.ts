import axe from 'axe-core';
import type { Page } from 'playwright';
import { expect, test } from 'vitest';
import { pages } from '../../src/demo/pages.js';
import { useApp } from './support/useApp.js';

const app = useApp();

const WIDTHS = [320, 768, 1280];

const resize = (page: Page, width: number): Promise<void> =>
	page.setViewportSize({ width, height: 900 });

/** What axe finds on a page, of the two worse degrees. */
async function violations(page: Page): Promise<string[]> {
	const results = await page.evaluate(() => (window as unknown as { axe: typeof axe }).axe.run());
	return results.violations
		.filter(({ impact }) => impact === 'serious' || impact === 'critical')
		.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
}

/** What reaches out of the card, the header or the dialog that it is in. */
function overflowing(page: Page): Promise<string[]> {
	return page.evaluate(() => {
		const found: string[] = [];
		for (const box of document.querySelectorAll('.card, header, dialog[open] .bar')) {
			const { right } = box.getBoundingClientRect();
			const end = Math.min(right, innerWidth) - parseFloat(getComputedStyle(box).paddingRight);
			for (const element of box.querySelectorAll('*')) {
				// These scroll sideways, and a dialog lies above the box that it is written in.
				if (element.closest('nav, .files')) continue;
				if (element.closest('dialog') !== box.closest('dialog')) continue;
				for (const { width, right } of element.getClientRects()) {
					if (width > 1 && right > end + 0.5) found.push(`${element.outerHTML.slice(0, 80)}`);
				}
			}
		}
		return found;
	});
}

async function expectNothingCutOff(page: Page): Promise<void> {
	for (const width of WIDTHS) {
		await resize(page, width);
		expect(await overflowing(page)).toEqual([]);
		expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
		// The header is as high as what is in it, or as the window.
		expect(
			await page.evaluate(() => {
				const end = (selector: string): number =>
					document.querySelector(selector)!.getBoundingClientRect().bottom;
				return end('header') === innerHeight || end('header') - end('nav') <= 1;
			})
		).toBe(true);
		await page.getByRole('button', { name: 'Show code' }).click();
		const close = page.getByRole('button', { name: 'Close', exact: true });
		const { x, width: closeWidth } = (await close.boundingBox())!;
		expect(x).toBeGreaterThanOrEqual(0);
		expect(x + closeWidth).toBeLessThanOrEqual(width);
		expect(await overflowing(page)).toEqual([]);
		await close.click();
		await page.getByRole('dialog').waitFor({ state: 'hidden' });
	}
}

async function expectAccessible(page: Page): Promise<void> {
	await page.addScriptTag({ content: axe.source });
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
}

test.each(pages)(
	'nothing on $path is cut off at any width, and it can be used by all, on a phone and in the dark too',
	async ({ path }) => {
		const { page } = await app.visit(path);
		await expectNothingCutOff(page);
		await expectAccessible(page);
	}
);

test('the columns of the numbers are in line at any width', async () => {
	const { page } = await app.visit('/stats');
	await page.getByText('open', { exact: true }).waitFor();
	for (const width of WIDTHS) {
		await resize(page, width);
		for (const [column, edge] of [
			['dt .mono', 'left'],
			['dt .small', 'left'],
			['dd', 'right']
		] as const) {
			const edges = await page
				.locator(`.stats ${column}`)
				.evaluateAll((all, edge) => all.map((one) => one.getBoundingClientRect()[edge]), edge);
			expect(edges).toHaveLength(10);
			expect(new Set(edges.map(Math.round)).size).toBe(1);
		}
	}
});

test('a long message can be read to its end at any width', async () => {
	const { page } = await app.visit('/');
	await page.getByLabel('Message').fill('long '.repeat(39) + 'end');
	await page.getByRole('button', { name: 'To everyone' }).click();
	const text = page.getByLabel('Channel demo').getByText('long');
	await text.waitFor();
	for (const width of WIDTHS) {
		await resize(page, width);
		expect(await overflowing(page)).toEqual([]);
		expect(await text.evaluate((it) => it.scrollWidth <= it.clientWidth + 1)).toBe(true);
	}
});
