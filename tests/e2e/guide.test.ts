// The example of docs/guides/testing.md; a test compares them.
import { spawn } from 'node:child_process';
import { chromium } from 'playwright';
import { startInngestDev } from '../../src/lib/dev/index.js';
import { expect, onTestFinished, test } from 'vitest';
import { BROWSER } from '../support/browser.js';
import { freePort } from '../support/ports.js';

const port = await freePort();
const url = `http://localhost:${port}`;

test('a page shows what is published, also after Inngest was away', async () => {
	const engine = await startInngestDev();
	onTestFinished(() => engine.close());
	const app = spawn(process.execPath, ['build'], {
		env: {
			...process.env,
			PORT: String(port),
			ORIGIN: url,
			INNGEST_DEV: '1',
			INNGEST_BASE_URL: engine.url
		}
	});
	onTestFinished(() => void app.kill());
	await expect
		.poll(
			() =>
				fetch(url).then(
					({ ok }) => ok,
					() => false
				),
			{ timeout: 30_000 }
		)
		.toBe(true);
	const browser = await chromium.launch(BROWSER);
	onTestFinished(() => browser.close());
	const page = await browser.newPage();
	await page.goto(url);

	const say = (message: string) =>
		engine.publish({ channel: 'demo', topic: 'message', data: { message } });
	await page.getByText('connected').first().waitFor();
	say('Hello');
	await page.getByText('Hello').first().waitFor();

	engine.dropSockets();
	const again = page.getByText('Back again').first();
	await expect
		.poll(
			() => {
				say('Back again');
				return again.isVisible();
			},
			{ timeout: 30_000 }
		)
		.toBe(true);
});
