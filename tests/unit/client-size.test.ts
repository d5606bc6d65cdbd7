import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { APPS, ENTRY_LIMITS, pay, paySharing, SHARING, weigh } from '../../scripts/size.mjs';

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

test.each(Object.entries(ENTRY_LIMITS))('all of %s stays below its limit', async (name, entry) => {
	const bytes = await weigh(entry.source);
	expect(bytes).toBeGreaterThan(entry.limit / 3);
	expect(bytes).toBeLessThanOrEqual(entry.limit);
	const page = new URL('../../docs/compatibility.md', import.meta.url);
	const row = new RegExp(`\\| \`${name}\` +\\| ([\\d.]+) +\\| (\\d+) `).exec(
		readFileSync(page, 'utf8')
	);
	expect(Number(row?.[2]) * 1024, name).toBe(entry.limit);
});

test('every entry has a limit', () => {
	const { exports } = JSON.parse(
		readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
	) as { exports: Record<string, unknown> };
	const others = ['./client', './server/createRealtimeEndpoint', './package.json'];
	const entries = Object.keys(exports).filter((name) => !others.includes(name));
	expect(Object.keys(ENTRY_LIMITS).sort()).toEqual(
		entries.map((name) => name.replace('.', 'sveltekit-inngest')).sort()
	);
});
