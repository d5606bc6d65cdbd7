import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { APPS, pay, paySharing, SHARING } from '../../scripts/size.mjs';

// Otherwise Svelte compiles for development.
beforeAll(() => void vi.stubEnv('NODE_ENV', 'production'));
afterAll(() => void vi.unstubAllEnvs());

test('the manager and the hooks of a simple page cost at most 7.5 KB, Svelte aside', async () => {
	const { bytes, modules } = await pay(APPS.simple.names);
	expect(bytes).toBeGreaterThan(3 * 1024);
	expect(bytes).toBeLessThanOrEqual(7.5 * 1024);
	expect(modules.join()).not.toMatch(
		/hooks\/(messages|stream|run|channel|presence|ask|post)|client\/events|protocol\/event\./
	);
});

test('a simple page that sends as well pays at most 2 KB for it', async () => {
	const [simple, send] = await Promise.all([pay(APPS.simple.names), pay(APPS.send.names)]);
	expect(send.bytes).toBeGreaterThan(simple.bytes);
	expect(send.bytes).toBeLessThanOrEqual(APPS.send.limit);
	expect(send.bytes - simple.bytes).toBeLessThanOrEqual(2 * 1024);
});

test('all hooks together cost at most 10 KB, and nothing of the server comes along', async () => {
	const { bytes, modules } = await pay(APPS.all.names);
	expect(bytes).toBeGreaterThan(6 * 1024);
	expect(bytes).toBeLessThanOrEqual(10 * 1024);
	expect(modules.join()).not.toMatch(/lib\/(server|dev)|node_modules\/(zod|ws|inngest|@inngest)\//);
});

test('what tabs that share a stream load besides is under 2 KB, and a simple page has none of it', async () => {
	const [simple, sharing] = await Promise.all([pay(APPS.simple.names), paySharing()]);
	expect(sharing.bytes).toBeGreaterThan(1024);
	expect(sharing.bytes).toBeLessThan(SHARING.limit);
	expect(sharing.modules.join()).toMatch(/tabs\/group/);
	expect(simple.modules.join()).not.toMatch(/client\/tabs/);
});
