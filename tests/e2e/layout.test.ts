import type { Page } from 'playwright';
import { expect, test } from 'vitest';
import { pages } from '../../src/demo/pages.js';
import { useApp } from './support/useApp.js';

const app = useApp();

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

const WIDTHS = [320, 768, 1280];

const resize = (page: Page, width: number): Promise<void> =>
	page.setViewportSize({ width, height: 900 });

test.each(pages)('nothing on $path is cut off at any width', async ({ path }) => {
	const { page } = await app.visit(path);
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
});

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
