import { expect, test } from 'vitest';
import { useApp } from './support/useApp.js';

const app = useApp();

test('a job shows its steps, a failure and its retry, and the result', async () => {
	const { page } = await app.visit('/job');
	await page.getByLabel('A step fails once and is tried again').check();
	// States pass; a page that is busy may be asked too late.
	await page.evaluate(() => {
		const seen: string[] = ((window as { seen?: unknown }).seen = []);
		new MutationObserver(() => {
			for (const { innerText } of document.querySelectorAll<HTMLElement>('li .state')) {
				if (!seen.includes(innerText)) seen.push(innerText);
			}
		}).observe(document.body, { childList: true, characterData: true, subtree: true });
	});
	await page.getByRole('button', { name: 'Start' }).click();
	await page.getByText('An album of 48 pages is ready.').waitFor();
	expect(await page.getByRole('progressbar').getAttribute('value')).toBe('5');
	const seen = await page.evaluate(() => (window as { seen?: string[] }).seen);
	expect(seen).toEqual(
		expect.arrayContaining(['running', 'done', 'retrying', 'running, attempt 2', 'done, attempt 2'])
	);
});

test('a job that fails for good says at which step', async () => {
	const { page } = await app.visit('/job');
	await page.getByLabel('A step fails for good').check();
	await page.getByRole('button', { name: 'Start' }).click();
	await page.getByText('The photos are out of focus.').waitFor();
	await page
		.getByRole('listitem')
		.filter({ hasText: 'Sort by person' })
		.getByText('failed')
		.waitFor();
});

test('a page that is loaded again goes on where the job is', async () => {
	const { page } = await app.visit('/job');
	await page.getByLabel('All goes well').check();
	await page.getByRole('button', { name: 'Start' }).click();
	await page.getByText('1 of 5 steps done.').waitFor();
	await page.reload();
	await page.getByText(/[1-4] of 5 steps done\./).waitFor();
	await page.getByText('An album of 48 pages is ready.').waitFor();
});

test('a second start takes the place of a job that still runs', async () => {
	const { page } = await app.visit('/job');
	await page.getByLabel('All goes well').check();
	const start = page.getByRole('button', { name: 'Start' });
	await start.click();
	await page.getByText('1 of 5 steps done.').waitFor();
	await start.click();
	await page.getByText('0 of 5 steps done.').waitFor();
	await page.getByText('An album of 48 pages is ready.').waitFor();
	const states = page.locator('li .state');
	expect(await states.allInnerTexts()).toEqual(Array(5).fill('done'));
	await page.reload();
	await page.getByText('An album of 48 pages is ready.').waitFor();
	expect(await states.allInnerTexts()).toEqual(Array(5).fill('done'));
});

test('two quick clicks on Start leave one finished job', async () => {
	const { page } = await app.visit('/job');
	await page.getByLabel('All goes well').check();
	await page.getByRole('button', { name: 'Start' }).evaluate(async (button: HTMLElement) => {
		button.click();
		await new Promise((resolve) => setTimeout(resolve, 120));
		button.click();
	});
	await page.getByText('An album of 48 pages is ready.').waitFor();
	expect(await page.locator('li .state').allInnerTexts()).toEqual(Array(5).fill('done'));
});

test('a job is cancelled: its run ends, and the page says how far it came', async () => {
	const { page } = await app.visit('/job');
	await page.getByLabel('All goes well').check();
	await page.getByRole('button', { name: 'Start' }).click();
	await page.getByText('1 of 5 steps done.').waitFor();
	const cancel = page.getByRole('button', { name: 'Cancel' });
	await cancel.click();
	await page.getByText(/Cancelled after [1-4] of 5 steps\./).waitFor();
	expect(await cancel.getAttribute('aria-disabled')).toBe('true');
	await expect.poll(() => app.engine.runs.at(-1)?.status).toBe('Cancelled');
	await page.reload();
	await page.getByText(/Cancelled after [1-4] of 5 steps\./).waitFor();
});

test('a job goes on after its server was killed and started again', async () => {
	const { page, forgive } = await app.visit('/job');
	await page.getByLabel('All goes well').check();
	await page.getByRole('button', { name: 'Start' }).click();
	await page.getByText('1 of 5 steps done.').waitFor();
	await app.restart();
	await page.getByText('An album of 48 pages is ready.').waitFor();
	const states = await page.locator('li .state').allInnerTexts();
	// The step that the server was at has begun again.
	expect(states).toEqual(Array(5).fill(expect.stringMatching(/^done/)));
	forgive(/ERR_|Failed to|50[0-9]/);
});
