import { expect, test } from 'vitest';
import { count, grows, stat } from './support/counts.js';
import { useApp } from './support/useApp.js';

const app = useApp();

test('what is published while the stream is cut is replayed, without a gap or a repeat', async () => {
	const { page } = await app.visit('/break');
	await page.getByRole('button', { name: 'Start counting' }).click();
	await grows(page, 'Received', 5);
	await page.getByRole('button', { name: 'Take the line down' }).click();
	await page.getByText('connecting', { exact: true }).waitFor();
	const received = await count(page, 'Received');
	await grows(page, 'Sent', 10);
	expect(await count(page, 'Received')).toBe(received);
	await page.getByRole('button', { name: 'Put the line up' }).click();
	await expect.poll(() => count(page, 'Replayed')).toBeGreaterThan(5);
	await grows(page, 'Received', 5);
	await page.getByRole('button', { name: 'Cut the stream' }).click();
	await page.getByText('connecting', { exact: true }).waitFor();
	await page.getByText('connected', { exact: true }).waitFor();
	await page.getByRole('button', { name: 'Stop counting' }).click();
	await page.getByRole('button', { name: 'Start counting' }).waitFor();
	await expect
		.poll(async () => (await count(page, 'Sent')) - (await count(page, 'Received')))
		.toBe(0);
	for (const label of ['Announced gaps', 'Lost silently', 'Repeated'] as const) {
		expect(await count(page, label)).toBe(0);
	}
});

test('what is published while Inngest is out of reach is lost, and announced', async () => {
	const { page } = await app.visit('/break');
	await page.getByRole('button', { name: 'Start counting' }).click();
	await grows(page, 'Received', 5);
	app.engine.failTokens(503);
	app.engine.dropSockets();
	await page.getByText('The connection to Inngest was lost; it is being restored.').waitFor();
	await grows(page, 'Sent', 5);
	app.engine.failTokens(null);
	await page.getByText('connected', { exact: true }).waitFor();
	await grows(page, 'Received', 5);
	expect(await count(page, 'Announced gaps')).toBe(1);
	expect(await count(page, 'Lost in gaps')).toBeGreaterThan(4);
	expect(await count(page, 'Lost silently')).toBe(0);
});

test('a line that is cut ends its stream even where the abort of a signal is lost', async () => {
	const stats = await app.visit('/stats');
	const { page } = await app.visit('/');
	// As in WebKit, which may collect a signal of `AbortSignal.any()` before it is aborted.
	await page.addInitScript(() => {
		const real = window.fetch;
		window.fetch = (input, init) => real(input, { ...init, signal: null });
	});
	await page.goto(new URL('/break', page.url()).href);
	await page.getByText('connected', { exact: true }).waitFor();
	await expect.poll(() => stat(stats.page, 'streams')).toBe('2');
	await page.getByRole('button', { name: 'Take the line down' }).click();
	await page.getByText('connecting', { exact: true }).waitFor();
	await expect.poll(() => stat(stats.page, 'streams')).toBe('1');
});
