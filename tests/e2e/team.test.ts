import { expect, test } from 'vitest';
import { useApp } from './support/useApp.js';

const app = useApp();

test('posts reach the team, notes reach admins', async () => {
	const member = await app.visit('/team');
	const admin = await app.visit('/team');
	await admin.signIn('Admin');
	await admin.page.getByLabel('Text').fill('The budget is through');
	await admin.page.getByRole('button', { name: 'Note to admins' }).click();
	await admin.page.getByRole('log').getByText('The budget is through').waitFor();
	await member.page.getByLabel('Text').fill('Lunch at noon?');
	await member.page.getByRole('button', { name: 'Post to the team' }).click();
	for (const { page } of [member, admin]) {
		await page.getByRole('log').getByText('Lunch at noon?').waitFor();
	}
	expect(await member.page.getByText('The budget is through').count()).toBe(0);
	expect(await member.page.getByRole('button', { name: 'Note to admins' }).isDisabled()).toBe(true);
});

test('a right that is revoked ends the stream although nothing is published, and clears the feed', async () => {
	const member = await app.visit('/team');
	const admin = await app.visit('/team');
	await admin.signIn('Admin');
	await member.page.getByLabel('Text').fill('Before the meeting');
	await member.page.getByRole('button', { name: 'Post to the team' }).click();
	await member.page.getByRole('log').getByText('Before the meeting').waitFor();
	const right = admin.page.getByRole('button', { name: `the right of ${member.name}` });
	await right.click();
	await member.page.getByText('Your right to read the team feed was revoked').waitFor();
	await member.page.getByRole('log').getByText('You may not read this feed.').waitFor();
	expect(await member.page.getByText('Before the meeting').count()).toBe(0);
	await admin.page.getByLabel('Text').fill('Without you');
	await admin.page.getByRole('button', { name: 'Post to the team' }).click();
	await admin.page.getByRole('log').getByText('Without you').waitFor();
	await member.page.getByRole('button', { name: 'Try again' }).click();
	await expect.poll(() => member.problems.join()).toContain('403');
	member.forgive(/403/);
	await member.page.getByText('degraded').waitFor();
	expect(await member.page.getByText('Without you').count()).toBe(0);
	await right.click();
	await admin.page.getByRole('button', { name: `Revoke the right of ${member.name}` }).waitFor();
	await member.page.getByRole('button', { name: 'Try again' }).click();
	await member.page.getByText('connected').waitFor();
});

test('a double click posts once', async () => {
	const { page } = await app.visit('/team');
	await page.getByLabel('Text').fill('Only once');
	await page.getByRole('button', { name: 'Post to the team' }).evaluate((button: HTMLElement) => {
		button.click();
		button.click();
	});
	await page.getByRole('log').getByText('Only once').first().waitFor();
	await page.getByLabel('Text').fill('And then this');
	await page.getByRole('button', { name: 'Post to the team' }).click();
	// In the order of publishing: a second copy would be here before this one.
	await page.getByRole('log').getByText('And then this').waitFor();
	expect(await page.getByRole('log').getByText('Only once').count()).toBe(1);
});

test('notes leave the screen with the role that may read them', async () => {
	const { page, signIn } = await app.visit('/team');
	await signIn('Admin');
	await page.getByLabel('Text').fill('For admins');
	await page.getByRole('button', { name: 'Note to admins' }).click();
	await page.getByRole('log').getByText('For admins').waitFor();
	await signIn('Member');
	await expect.poll(() => page.getByText('For admins', { exact: true }).count()).toBe(0);
});
