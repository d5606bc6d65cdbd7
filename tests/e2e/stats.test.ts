import { expect, test } from 'vitest';
import { stat } from './support/counts.js';
import { useApp } from './support/useApp.js';

const app = useApp();

test('streams grow with the windows, and the socket to Inngest stays one', async () => {
	const { page } = await app.visit('/stats');
	await expect.poll(() => stat(page, 'streams')).toBe('1');
	await app.visit('/');
	await app.visit('/nested');
	await expect.poll(() => stat(page, 'streams')).toBe('4');
	expect(await stat(page, 'hub.sources.inngest.sockets')).toBe('1');
	expect(await stat(page, 'hub.sources.inngest.state')).toBe('open');
});

test('server code reads the same messages as the browsers', async () => {
	const { page } = await app.visit('/stats');
	await expect.poll(() => stat(page, 'hub.feeds')).not.toBe('0');
	await page.getByLabel('Message').fill('For the server too');
	await page.getByRole('button', { name: 'To everyone' }).click();
	await expect.poll(() => page.getByText('For the server too').count()).toBe(2);
});

test('a plain HTTP client reads them too, line by line', async () => {
	const { page } = await app.visit('/stats');
	const { body } = await fetch(new URL('/api/messages', page.url()));
	const lines = body!.pipeThrough(new TextDecoderStream()).getReader();
	expect((await lines.read()).value).toBe('\n');
	const line = lines.read();
	await expect.poll(() => stat(page, 'hub.feeds')).not.toBe('0');
	await page.getByLabel('Message').fill('For the terminal');
	await page.getByRole('button', { name: 'To everyone' }).click();
	expect(JSON.parse((await line).value!)).toMatchObject({
		topic: 'message',
		data: { message: 'For the terminal' }
	});
	await lines.cancel();
});
