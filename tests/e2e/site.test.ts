import { spawnSync } from 'node:child_process';
import { createReadStream, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import type { Browser } from 'playwright';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchBrowser } from '../support/browser.js';
import { cleanEnvironment, ROOT } from './support/build.js';

const SITE = join(ROOT, 'docs-site/build');
const TYPES: Record<string, string> = {
	'.html': 'text/html',
	'.js': 'text/javascript',
	'.css': 'text/css',
	'.json': 'application/json',
	'.wasm': 'application/wasm'
};
const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

let server: Server;
let browser: Browser;
let url: string;

beforeAll(async () => {
	const { status, stderr } = spawnSync(process.execPath, [join(ROOT, 'docs-site/build.mjs')], {
		env: cleanEnvironment({}),
		encoding: 'utf8'
	});
	expect(status, stderr).toBe(0);
	server = createServer(({ url = '/' }, response) => {
		let path = join(SITE, new URL(url, 'http://site').pathname);
		const found = statSync(path, { throwIfNoEntry: false });
		if (found?.isDirectory()) path = join(path, 'index.html');
		else if (!found) return void response.writeHead(404).end();
		response.setHeader('content-type', TYPES[extname(path)] ?? 'application/octet-stream');
		createReadStream(path).pipe(response);
	});
	await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
	url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
	browser = await launchBrowser();
}, 300_000);
afterAll(async () => {
	await browser?.close();
	server?.closeAllConnections();
	await new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)));
});

test.each(['light', 'dark'] as const)(
	'the site is accessible in %s, at phone width too, and asks nobody else for anything',
	async (colorScheme) => {
		const context = await browser.newContext({
			colorScheme,
			viewport: { width: colorScheme === 'dark' ? 390 : 1280, height: 900 }
		});
		const page = await context.newPage();
		const elsewhere: string[] = [];
		const problems: string[] = [];
		page.on('request', (request) => {
			if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(url)) {
				elsewhere.push(request.url());
			}
		});
		page.on('pageerror', ({ message }) => problems.push(message));
		page.on('response', (response) => {
			if (response.status() >= 400) problems.push(`${response.status()} ${response.url()}`);
		});
		for (const path of ['/', '/guides/testing/', '/reference/redis/']) {
			await page.goto(url + path);
			await page.addScriptTag({ path: AXE });
			const violations = await page.evaluate(async () => {
				const { axe } = window as unknown as {
					axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
				};
				const { violations } = await axe.run();
				return violations.map(({ id, nodes }) => `${id}: ${nodes[0]!.html}`);
			});
			expect(violations, path).toEqual([]);
			const overflow = await page.evaluate(
				() => document.documentElement.scrollWidth - document.documentElement.clientWidth
			);
			expect(overflow, path).toBeLessThanOrEqual(0);
		}
		expect(elsewhere).toEqual([]);
		expect(problems).toEqual([]);
		await context.close();
	}
);

test('the search finds a page, and leads there', async () => {
	const page = await browser.newPage();
	await page.goto(url);
	const box = page.getByRole('searchbox', { name: 'Search' });
	await expect
		.poll(
			async () => {
				await box.fill('');
				await box.pressSequentially('backendDown');
				await page.waitForTimeout(500);
				return page.locator('search li a').count();
			},
			{ timeout: 30_000 }
		)
		.toBeGreaterThan(0);
	const isWhole = await page
		.locator('search li p')
		.first()
		.evaluate((text) => {
			const { right, top } = text.getBoundingClientRect();
			return text.contains(document.elementFromPoint(right - 5, top + 5));
		});
	expect(isWhole, 'nothing hides a part of the results').toBe(true);
	const title = 'a[href="/guides/testing/"]';
	const found = page.locator(`search li:has(> ${title})`);
	expect(await found.locator('.section').getAttribute('href')).toMatch(/^\/guides\/testing\/#./);
	await found.locator(title).click();
	await page.waitForURL(`${url}/guides/testing/`);
	expect(await page.locator('h1').innerText()).toBe('Test');
});
