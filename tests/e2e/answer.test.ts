import { expect, test } from 'vitest';
import { answers } from '../../src/demo/server/answers.js';
import { useApp } from './support/useApp.js';

const app = useApp();
const QUESTION = 'What if I lose my connection?';

test('an answer appears piece by piece, and is whole in the end', async () => {
	const { page } = await app.visit('/answer');
	await page.getByRole('button', { name: QUESTION }).click();
	await page.getByText('Answering …').waitFor();
	const text = page.locator('.text');
	await expect.poll(async () => (await text.innerText()).length).toBeGreaterThan(20);
	const early = await text.innerText();
	expect(early.length).toBeLessThan(answers[QUESTION]!.length);
	expect(answers[QUESTION]!.startsWith(early)).toBe(true);
	await page.getByText('The answer is complete.').waitFor();
	expect(await text.textContent()).toContain(answers[QUESTION]);
});

test('an answer survives the loss of the network while it comes', async () => {
	const { page, forgive } = await app.visit('/answer');
	await page.getByRole('button', { name: QUESTION }).click();
	await page.getByText('Answering …').waitFor();
	app.cut();
	await page.getByText('connecting', { exact: true }).waitFor();
	await page.getByText('The answer is complete.').waitFor();
	expect(await page.locator('.text').textContent()).toContain(answers[QUESTION]);
	forgive(/ERR_INCOMPLETE_CHUNKED_ENCODING/);
});
