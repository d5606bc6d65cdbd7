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
		await page.getByRole('log').getByText('Lunch at noon?').waitFor({ timeout: 1_000 });
	}
	expect(await member.page.getByText('The budget is through').count()).toBe(0);
	expect(await member.page.getByRole('button', { name: 'Note to admins' }).isDisabled()).toBe(true);
});

test('a right that is taken away ends the stream although nothing is published', async () => {
	const member = await app.visit('/team');
	const admin = await app.visit('/team');
	await admin.signIn('Admin');
	const right = admin.page.getByRole('button', { name: `the right of ${member.name}` });
	await right.click();
	await member.page
		.getByText('Your right to read the team feed was taken away')
		.waitFor({ timeout: 5_000 });
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
