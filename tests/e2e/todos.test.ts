import { expect, test } from 'vitest';
import { useApp } from './support/useApp.js';

const app = useApp();

test('two people share a list, offline too; what is refused comes back, with the reason', async () => {
	const alice = await app.visit('/todos');
	const bob = await app.visit('/todos');
	const add = async ({ page }: typeof alice, title: string): Promise<void> => {
		await page.getByLabel('New entry').fill(title);
		await page.getByRole('button', { name: 'Add' }).click();
	};
	for (const { page } of [alice, bob]) await page.getByText('Online').waitFor();
	await add(alice, 'Buy tea');
	await bob.page.getByText('Buy tea').waitFor();
	await bob.page.getByLabel('Buy tea', { exact: true }).check();
	await expect.poll(() => alice.page.getByLabel('Buy tea', { exact: true }).isChecked()).toBe(true);

	// Offline: it goes on, and survives a reload.
	await alice.page.getByRole('button', { name: 'Take the line down' }).click();
	await alice.page.getByText('Offline', { exact: true }).waitFor();
	await add(alice, 'Written offline');
	await alice.page.getByText('Written offline').waitFor();
	await alice.page.getByText('1 not sent yet').waitFor();
	await add(bob, 'Written meanwhile');
	await bob.page.getByText('everything is sent').waitFor();
	expect(await alice.page.getByText('Written meanwhile').count()).toBe(0);
	await alice.page.reload();
	await alice.page.getByText('Written meanwhile').waitFor();
	for (const { page } of [alice, bob]) await page.getByText('Written offline').waitFor();
	await alice.page.getByText('everything is sent').waitFor();

	// Refused.
	await bob.page.getByRole('button', { name: 'Delete Buy tea' }).click();
	await bob.page.getByText(`Only ${alice.name} may delete this.`).waitFor();
	await bob.page.getByLabel('Buy tea', { exact: true }).waitFor();
	await add(alice, 'Spam for all');
	await alice.page.getByText('No spam, please.').waitFor();
	await expect.poll(() => alice.page.getByLabel('Spam for all').count()).toBe(0);
	expect(await alice.page.getByRole('checkbox').count()).toBe(3);
});

test('of two tabs one syncs; when it is closed, the other goes on', async () => {
	const { page } = await app.visit('/todos');
	await page.getByText('Online').waitFor();
	const streams: string[] = [];
	const other = await page.context().newPage();
	other.on('request', (request) => streams.push(request.postData() ?? ''));
	await other.goto(page.url());
	await other.getByLabel('New entry').fill('From the second tab');
	await other.getByRole('button', { name: 'Add' }).click();
	await page.getByText('From the second tab').waitFor();
	await other.getByText('everything is sent').waitFor();
	expect(streams.filter((body) => body.includes('sync'))).toEqual([]);
	await page.close();
	await other.getByLabel('New entry').fill('After the first tab');
	await other.getByRole('button', { name: 'Add' }).click();
	await expect
		.poll(() => streams.filter((body) => body.includes('sync/todos/create')))
		.toHaveLength(1);
	await other.getByText('everything is sent').waitFor();
	await other.close();
});
