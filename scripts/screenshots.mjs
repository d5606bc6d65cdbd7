// Takes pictures of each page of the demo in use, at phone and desktop width, into `screenshots/`.
import { mkdir, rm } from 'node:fs/promises';
import { runnerImport } from 'vite';

const FOLDER = new URL('../screenshots/', import.meta.url);
const SIZES = { phone: 390, desktop: 1280 };

const click = (page, name) => page.getByRole('button', { name, exact: true }).click();

/** What somebody does on a page before the picture is taken. */
const SCENES = {
	'/': async ({ page, signIn }) => {
		await signIn('Admin');
		for (const to of ['To everyone', 'To admins', 'To me alone']) await click(page, to);
		await page.locator('.fresh').nth(2).waitFor();
	},
	'/nested': async ({ page }) => {
		for (const to of ['To everyone', 'To me alone']) await click(page, to);
		await page.locator('.fresh').nth(1).waitFor();
	},
	'/job': async ({ page }) => {
		await click(page, 'Start');
		await page.getByText('running, attempt 2').waitFor();
	},
	'/answer': async ({ page }) => {
		await click(page, 'What if I lose my connection?');
		await page.getByText('Every message of a channel has a position.').waitFor();
	},
	'/team': async ({ page, signIn }) => {
		await signIn('Admin');
		const posts = [
			['Lunch at noon?', 'Post to the team'],
			['The budget is through', 'Note to admins'],
			['I bring bread', 'Post to the team']
		];
		for (const [text, button] of posts) {
			await page.getByLabel('Text').fill(text);
			await click(page, button);
			await page.getByRole('log').getByText(text).waitFor();
		}
	},
	'/break': async ({ page }, app) => {
		const received = (least) =>
			page.waitForFunction(
				(number) => Number(document.querySelectorAll('dl dd')[1].textContent) >= number,
				least
			);
		await click(page, 'Start counting');
		await received(40);
		await click(page, 'Take the line down');
		await page.waitForTimeout(2_000);
		await click(page, 'Put the line up');
		await received(90);
		app.engine.failTokens(503);
		app.engine.dropSockets();
		await page.waitForTimeout(1_500);
		app.engine.failTokens(null);
		await received(130);
	},
	'/stats': async ({ page }) => {
		await click(page, 'To everyone');
		await page.locator('.fresh').first().waitFor();
		await page.getByText('open', { exact: true }).waitFor();
	}
};

const { module } = await runnerImport(
	new URL('../tests/e2e/support/app.ts', import.meta.url).pathname
);
await rm(FOLDER, { recursive: true, force: true });
await mkdir(FOLDER, { recursive: true });
const app = await module.startApp();
try {
	for (const [path, scene] of Object.entries(SCENES)) {
		for (const [size, width] of Object.entries(SIZES)) {
			const colorScheme = size === 'phone' ? 'dark' : 'light';
			const visitor = await app.visit(path, { width, colorScheme });
			await scene(visitor, app);
			const name = `${path.slice(1) || 'live'}-${size}.png`;
			await visitor.page.screenshot({ path: new URL(name, FOLDER).pathname, fullPage: true });
			for (const problem of visitor.problems) console.warn(`${name}: ${problem}`);
			await visitor.page.context().close();
			console.log(`screenshots/${name}`);
		}
	}
} finally {
	await app.close();
}
