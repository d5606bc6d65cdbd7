import { spawn, type ChildProcess } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchBrowser } from '../support/browser.js';
import { output, visit } from './support/app.js';
import { cleanEnvironment, ROOT } from './support/build.js';

/** The project's own, but for ports that are free and modules that lie outside of the copy. */
const CONFIG = `
import { sveltekit } from '@sveltejs/kit/vite';
import { inngestDev } from './src/lib/dev/vite.js';

export default {
	plugins: [inngestDev({ port: 0 }), sveltekit()],
	cacheDir: '.vite',
	server: { fs: { strict: false } }
};
`;

let folder: string;
let vite: ChildProcess;
let browser: Browser;
let url: string;

/** Copies the demo into a folder of its own. */
async function copyDemo(): Promise<string> {
	const copy = await mkdtemp(join(tmpdir(), 'sveltekit-inngest-dev-'));
	for (const name of ['src', 'static', 'package.json', 'tsconfig.json', 'svelte.config.js']) {
		await cp(join(ROOT, name), join(copy, name), { recursive: true });
	}
	await symlink(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
	await writeFile(join(copy, 'vite.config.ts'), CONFIG);
	return copy;
}

function startVite(cwd: string): ChildProcess {
	return spawn(process.execPath, ['node_modules/vite/bin/vite.js', 'dev', '--port', '0'], {
		cwd,
		env: cleanEnvironment({ NO_COLOR: '1' }),
		stdio: ['ignore', 'pipe', 'pipe']
	});
}

async function endVite(child: ChildProcess | undefined, cwd: string): Promise<void> {
	const ended = new Promise((resolve) => child?.once('close', resolve));
	child?.kill('SIGTERM');
	await ended;
	await rm(cwd, { recursive: true, force: true });
}

beforeAll(async () => {
	folder = await copyDemo();
	vite = startVite(folder);
	const started = output(vite, '➜  Local:', 60_000);
	browser = await launchBrowser();
	url = /Local:\s+(\S+?)\/?\s/.exec((await started) + '\n')![1]!;
	// The first visit makes Vite bundle what it finds, and load the page again.
	await visit(browser, url);
}, 120_000);

afterAll(async () => {
	await browser?.close();
	await endVite(vite, folder);
}, 30_000);

test('vite dev shows live events with nothing else running', async () => {
	const { page } = await visit(browser, url);
	await page.getByLabel('Message').fill('Out of the box');
	await page.getByRole('button', { name: 'To everyone' }).click();
	await page.getByLabel('Channel demo').getByText('Out of the box').waitFor();
});

test('the inspector opens with its keys', async () => {
	const { page, name } = await visit(browser, url);
	await page.keyboard.press('Alt+Shift+R');
	const inspector = page.getByRole('dialog', { name: 'Realtime inspector' });
	await inspector.getByRole('article', { name: `Channel user:${name}` }).waitFor();
	await page.keyboard.press('Escape');
	await inspector.waitFor({ state: 'hidden' });
});

test('pages with an open stream come back to server code that has changed', async () => {
	const { page } = await visit(browser, url);
	const file = join(folder, 'src/demo/server/realtime.ts');
	const code = await readFile(file, 'utf8');
	expect(code).toContain('Missing authenticated user');
	const changed = code.replace('if (!locals.user) throw', 'throw');
	await writeFile(file, changed.replace('Missing authenticated user', 'Closed for today'));
	await page.getByLabel('Channel demo').getByText('Closed for today').waitFor({ timeout: 20_000 });
});

test('the plugin registers an app that is served below a base path', async () => {
	const copy = await copyDemo();
	const config = join(copy, 'svelte.config.js');
	const code = await readFile(config, 'utf8');
	const changed = code.replace('kit: {', "kit: {\n\t\tpaths: { base: '/shop' },");
	expect(changed).not.toBe(code);
	await writeFile(config, changed);
	const child = startVite(copy);
	try {
		const text = await output(child, '[inngest dev]', 60_000);
		expect(text).toMatch(/Registered the app at http:\/\/localhost:\d+\/shop\/api\/inngest/);
	} finally {
		await endVite(child, copy);
	}
}, 90_000);
