import { expect, test } from 'vitest';
import type { Visitor } from './support/app.js';
import { useApp } from './support/useApp.js';

const app = useApp();

const publish = ({ page }: Visitor, to: string): Promise<void> =>
	page.getByRole('button', { name: to }).click();

test('an event becomes a message in every browser that may read it', async () => {
	const member = await app.visit('/');
	const admin = await app.visit('/');
	await admin.signIn('Admin');
	await member.page.getByLabel('Message').fill('Good morning');
	await publish(member, 'To everyone');
	for (const { page } of [member, admin]) {
		await page.getByText('Good morning').first().waitFor();
	}
});

test('a topic for admins reaches admins alone', async () => {
	const member = await app.visit('/');
	const admin = await app.visit('/');
	await admin.signIn('Admin');
	await admin.page.getByLabel('Message').fill('Between us');
	await publish(admin, 'To admins');
	await admin.page.getByText('Between us').waitFor();
	await admin.page.getByLabel('Message').fill('To all of you');
	await publish(admin, 'To everyone');
	// In the order of publishing: had the first been sent, it would be here before the second.
	await member.page.getByText('To all of you').waitFor();
	expect(await member.page.getByText('Between us').count()).toBe(0);
});

test('a message to one person reaches that person alone', async () => {
	const [one, other] = [await app.visit('/'), await app.visit('/')];
	await one.page.getByLabel('Message').fill('A note to self');
	await publish(one, 'To me alone');
	await one.page.getByLabel('Your own channel').getByText('A note to self').waitFor();
	await other.page.getByLabel('Message').fill('Another note');
	await publish(other, 'To me alone');
	await other.page.getByText('Another note').waitFor();
	expect(await other.page.getByText('A note to self').count()).toBe(0);
});

test('somebody who is signed out sees why nothing arrives, and can sign in', async () => {
	const { page, signIn } = await app.visit('/');
	await signIn('Signed out');
	const demo = page.getByLabel('Channel demo');
	await demo.getByText('degraded').waitFor();
	await demo.getByText('Missing authenticated user').waitFor();
	await signIn('Member');
	await demo.getByText('connected').waitFor();
});

test('a closed gate ends the stream before the message, and it can be opened again', async () => {
	const visitor = await app.visit('/');
	const { page } = visitor;
	const demo = page.getByLabel('Channel demo');
	await page.getByRole('button', { name: 'Close the gate' }).click();
	await page.getByText('The gate is closed.').waitFor();
	await page.getByLabel('Message').fill('Held back');
	await publish(visitor, 'To everyone');
	await demo.getByText('The gate is closed', { exact: true }).waitFor();
	expect(await demo.getByText('Held back').count()).toBe(0);
	await page.getByRole('button', { name: 'Open the gate' }).click();
	await page.getByText('The gate is open.').waitFor();
	await demo.getByRole('button', { name: 'Try again' }).click();
	await demo.getByText('connected').waitFor();
	await demo.getByText('Held back').waitFor();
});

test('a component inside nested managers reads from both', async () => {
	const visitor = await app.visit('/nested');
	const { page } = visitor;
	await publish(visitor, 'To everyone');
	await publish(visitor, 'To me alone');
	const inner = page.getByRole('region', { name: 'Inner manager' });
	await expect.poll(() => inner.getByText('Hello', { exact: true }).count()).toBe(2);
	await page.getByLabel('Show the inner manager').uncheck();
	await inner.waitFor({ state: 'detached' });
	await page.getByRole('region', { name: 'Outer manager' }).getByText('connected').waitFor();
});

test.each(['/', '/stats'])('what admins may read leaves %s with a sign-out', async (path) => {
	const visitor = await app.visit(path);
	const { page, signIn, forgive } = visitor;
	await signIn('Admin');
	await page.locator('.health .connected').first().waitFor();
	await page.getByLabel('Message').fill('For our eyes only');
	await publish(visitor, path === '/' ? 'To admins' : 'To everyone');
	await page.getByText('For our eyes only').first().waitFor();
	await signIn('Signed out');
	await page.locator('.health .degraded').first().waitFor();
	expect(await page.getByText('For our eyes only').count()).toBe(0);
	forgive(/403/);
});

test('a sign-out in another window ends the stream of this one', async () => {
	const { page, signIn, forgive } = await app.visit('/');
	const other = await page.context().newPage();
	await other.goto(page.url());
	await signIn('Admin');
	const demo = page.getByLabel('Channel demo');
	await demo.getByText('connected').waitFor();
	await other.getByRole('button', { name: 'Signed out' }).click();
	await demo.getByText('Missing authenticated user').waitFor();
	forgive(/403/);
});

test('nobody reads the channel of a person without a name', async () => {
	const { page, signIn, forgive } = await app.visit('/');
	await signIn('Signed out');
	const status = await page.evaluate(async () => {
		const body = JSON.stringify({ channel: 'user:undefined' });
		const headers = { 'content-type': 'application/json' };
		const response = await fetch('/api/events', { method: 'POST', headers, body });
		void response.body?.cancel();
		return response.status;
	});
	expect(status).toBe(403);
	forgive(/403/);
});
