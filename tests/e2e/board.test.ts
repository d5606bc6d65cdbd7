import type { Page } from 'playwright';
import { expect, test } from 'vitest';
import { useApp } from './support/useApp.js';

const app = useApp();

/** The names of those who are on the board, as a page shows them. */
async function here(page: Page): Promise<string[]> {
	const names = await page.locator('.people li').allInnerTexts();
	return names
		.map((name) =>
			name
				.toLowerCase()
				.replace(/ \(you\)| \d tabs/g, '')
				.trim()
		)
		.sort();
}

/** Waits until a page shows these people and nobody else: those of the test before leave after a while. */
const shows = (page: Page, names: readonly string[]): Promise<void> =>
	expect.poll(() => here(page)).toEqual(names);

const cameAndWent = (page: Page): Promise<string> =>
	page.getByRole('log', { name: 'Who came and went' }).innerText();

test('two people see each other, their cursors, and who is typing', async () => {
	const one = await app.visit('/board');
	const other = await app.visit('/board');
	const both = [one.name, other.name].sort();
	for (const { page } of [one, other]) await shows(page, both);

	const area = (await one.page.locator('.board').boundingBox())!;
	await one.page.mouse.move(area.x + area.width * 0.25, area.y + area.height * 0.5);
	const cursor = other.page.locator(`.cursor[data-name="${one.name}"]`);
	const place = (): Promise<string> =>
		cursor.evaluate(({ style }) =>
			['--x', '--y'].map((name) => Number(style.getPropertyValue(name)).toFixed(1)).join()
		);
	await expect.poll(place).toMatch(/^0\.[23],0\.5$/);
	// Of many moves, the last one arrives.
	await one.page.mouse.move(area.x + area.width * 0.9, area.y + area.height * 0.9, { steps: 40 });
	await expect.poll(place).toBe('0.9,0.9');
	// Nobody sees a cursor of its own.
	expect(await one.page.locator(`.cursor[data-name="${one.name}"]`).count()).toBe(0);

	await one.page.getByLabel('Text').pressSequentially('Hello');
	await other.page.getByText(`${one.name} is typing`).waitFor();
	await other.page.getByText('Nobody else is typing').waitFor();
	expect(await place()).toBe('0.9,0.9');
	await one.page.getByRole('button', { name: 'Say it' }).click();
	await other.page.getByRole('log', { name: 'What was said' }).getByText('Hello').waitFor();
});

test('a line that is cut and comes back is neither a leave nor a join; a page that is closed leaves', async () => {
	const one = await app.visit('/board');
	const other = await app.visit('/board');
	const both = [one.name, other.name].sort();
	for (const { page } of [one, other]) await shows(page, both);
	const before = await cameAndWent(one.page);
	app.cut();
	await expect.poll(() => one.problems.join()).toMatch(/ERR_/);
	for (const visitor of [one, other]) {
		await visitor.page.locator('.health .connected').waitFor();
		await shows(visitor.page, both);
		visitor.forgive(/ERR_/);
	}
	// What was said before the line was cut is said again after it.
	await other.page.getByLabel('Text').pressSequentially('Back');
	await one.page.getByText(`${other.name} is typing`).waitFor();
	// Longer than anybody may take to come back.
	await one.page.waitForTimeout(4_000);
	expect(await cameAndWent(one.page)).toBe(before);
	await other.page.close();
	await shows(one.page, [one.name]);
	expect((await cameAndWent(one.page)).toLowerCase()).toContain(`${other.name} left`);
});

test('a second tab of somebody is the same member', async () => {
	const one = await app.visit('/board');
	const tab = await one.page.context().newPage();
	await tab.goto(`${app.url}/board`);
	await one.page.getByText('2 tabs').waitFor();
	await shows(one.page, [one.name]);
	await tab.close();
	await expect.poll(() => one.page.getByText('2 tabs').count()).toBe(0);
});

test('twenty people come, move their cursors, and go', async () => {
	const { page, name } = await app.visit('/board');
	await page.getByRole('button', { name: 'Add 20 people' }).click();
	await page.getByRole('heading', { name: '21 here' }).waitFor();
	await expect.poll(() => page.locator('.cursor').count()).toBe(20);
	const places = (): Promise<string[]> =>
		page.locator('.cursor').evaluateAll((all) => all.map((one) => one.getAttribute('style')!));
	const before = await places();
	await expect
		.poll(async () => (await places()).filter((place, n) => place !== before[n]).length)
		.toBe(20);
	await page.getByRole('button', { name: 'Send them away' }).click();
	await expect.poll(() => here(page)).toEqual([name]);
});
