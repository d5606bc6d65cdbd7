// Makes the moving picture of the README, docs/demo.webp, from the demo's page "Break it": npm run film
// Needs a build of the demo, and `sharp`, which other development dependencies bring along.
import sharp from 'sharp';
import { runnerImport } from 'vite';

const TARGET = new URL('../docs/demo.webp', import.meta.url).pathname;
const SIZE = { width: 1280, height: 830 };
/** Milliseconds between two pictures. */
const STEP_MS = 250;

const { module } = await runnerImport(
	new URL('../tests/e2e/support/app.ts', import.meta.url).pathname
);
const app = await module.startApp();
try {
	const { page } = await app.visit('/break', { width: SIZE.width });
	await page.setViewportSize(SIZE);
	const press = (name) => page.getByRole('button', { name, exact: true }).click();
	const pictures = [];
	const film = async (ms) => {
		for (const end = Date.now() + ms; Date.now() < end;) {
			const next = Date.now() + STEP_MS;
			pictures.push(await page.screenshot());
			await page.waitForTimeout(Math.max(0, next - Date.now()));
		}
	};
	await press('Start counting');
	await film(2_000);
	await page.getByRole('button', { name: 'Take the line down' }).click();
	await film(2_500);
	await press('Put the line up');
	await film(2_500);
	app.engine.failTokens(503);
	app.engine.dropSockets();
	await film(2_000);
	app.engine.failTokens(null);
	await film(3_000);
	await sharp(pictures, { join: { animated: true } })
		.webp({ quality: 60, effort: 6, delay: pictures.map(() => STEP_MS), loop: 0 })
		.toFile(TARGET);
} finally {
	await app.close();
}
