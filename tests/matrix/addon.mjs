// Puts the `sv` add-on into fresh apps of `sv create`, checks, tests and builds them, and shows a live event.
//   npm run test:addon                  every app
//   npm run test:addon -- kit3          some of them
//   MATRIX_KEEP=1 npm run test:addon    leaves the apps, to look at them
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright';
import { installNodes } from './nodes.mjs';
import { npm } from './npm.mjs';
import { run, serve } from './processes.mjs';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const ADDON = join(ROOT, 'packages/sv');
const SV = join(ROOT, 'node_modules/sv/dist/bin.mjs');
const CHROMIUM = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium';
const CONFIG = /^vite\.config\.[jt]s$/;

const CELLS = [
	{ id: 'kit2', types: 'ts', inngest: '4', node: 20 },
	{ id: 'kit2-jsdoc-inngest3', types: 'jsdoc', inngest: '3', node: 22 },
	{ id: 'kit3', types: 'ts', inngest: '4', node: 24, upgrade: toKit3 }
];

/** What `sv` 0.17 creates is an app of SvelteKit 2. */
async function toKit3(folder) {
	await edit(join(folder, 'package.json'), (text) => {
		const manifest = JSON.parse(text);
		Object.assign(manifest.devDependencies, {
			'@sveltejs/adapter-auto': undefined,
			'@sveltejs/adapter-node': '^6.0.0',
			'@sveltejs/kit': '^3.0.0'
		});
		return JSON.stringify(manifest, null, '\t');
	});
	await edit(join(folder, 'vite.config.ts'), (text) =>
		text.replace('adapter-auto', 'adapter-node')
	);
	await edit(join(folder, 'src/routes/+layout.svelte'), (text) => text.replace('$lib', '#lib'));
	await writeFile(join(folder, 'tsconfig.json'), '{ "extends": "$app/tsconfig" }\n');
}

async function edit(path, change) {
	await writeFile(path, change(await readFile(path, 'utf8')));
}

/** Text of the files of an app, by path. */
async function filesOf(folder) {
	const entries = await readdir(folder, { recursive: true, withFileTypes: true });
	const paths = entries
		.filter((entry) => entry.isFile())
		.map(({ parentPath, name }) => join(parentPath, name))
		.filter((path) => !/[/](node_modules|\.svelte-kit)[/]/.test(path));
	const texts = await Promise.all(paths.map((path) => readFile(path, 'utf8')));
	return Object.fromEntries(paths.map((path, index) => [path, texts[index]]));
}

/** Sends a message from a page; another one shows it. */
async function showEvent(folder, node, env, browser) {
	const config = (await readdir(folder)).find((name) => CONFIG.test(name));
	// Whatever else may run on this machine has nothing to do with it.
	await edit(join(folder, config), (text) =>
		text.replace('inngestDev()', 'inngestDev({ port: 0 })')
	);
	const vite = await serve(node, ['node_modules/vite/bin/vite.js', 'dev', '--port', '0'], {
		cwd: folder,
		env,
		ready: /Local:\s+(\S+?)\/?\s/
	});
	const context = await browser.newContext();
	try {
		const url = `${vite.match[1]}/realtime`;
		const [sender, reader] = [await context.newPage(), await context.newPage()];
		for (const page of [sender, reader]) {
			await page.goto(url);
			await page.getByText('Connection: connected').waitFor({ timeout: 60_000 });
		}
		await sender.getByLabel('Message').fill('from the page');
		await sender.getByRole('button', { name: 'Send' }).click();
		for (const page of [sender, reader]) {
			await page.locator('li', { hasText: 'from the page' }).waitFor({ timeout: 30_000 });
		}
	} catch (error) {
		error.message += `\n--- vite ---\n${vite.output.slice(-3_000)}`;
		throw error;
	} finally {
		await context.close();
		await vite.stop();
	}
}

async function tryCell(cell, { work, tarball, node, browser }) {
	const { id, types, inngest, upgrade } = cell;
	const folder = join(work, id);
	const env = { ...process.env, PATH: `${join(node, '..')}:${process.env.PATH}`, NO_COLOR: '1' };
	const call = (...args) => run(node, args, { cwd: folder, env });
	const log = (text) => console.error(`${id}: ${text}`);

	const create = ['create', folder, '--template', 'minimal', '--types', types];
	await run(node, [SV, ...create, '--no-add-ons', '--no-install'], { cwd: work, env });
	await upgrade?.(folder);
	await edit(join(folder, 'package.json'), (text) => {
		const manifest = JSON.parse(text);
		manifest.dependencies = { 'sveltekit-inngest': `file:${tarball}` };
		return JSON.stringify(manifest, null, '\t');
	});
	const addOn = `file:${ADDON}=inngest:${inngest}+event:orders/create`;
	const flags = ['--no-git-check', '--no-download-check', '--no-install'];
	await call(SV, 'add', addOn, ...flags);
	const before = await filesOf(folder);
	await call(SV, 'add', addOn, ...flags);
	assert.deepEqual(await filesOf(folder), before, 'a second run changes nothing');
	log('added');

	await call(...npm('install'));
	await call('node_modules/@sveltejs/kit/svelte-kit.js', 'sync');
	const config = types === 'ts' ? 'tsconfig.json' : 'jsconfig.json';
	const check = ['node_modules/svelte-check/bin/svelte-check', '--tsconfig', config];
	await call(...check, '--fail-on-warnings');
	log('checked');
	await call('node_modules/vitest/vitest.mjs', 'run');
	log('tested');
	await call('node_modules/vite/bin/vite.js', 'build');
	log('built');
	if (browser) await showEvent(folder, node, env, browser);
	log(browser ? 'showed a live event' : 'no Chromium: no event was shown');
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((id) => !CELLS.some((cell) => cell.id === id));
if (unknown.length > 0) throw new Error(`No such apps: ${unknown.join(', ')}`);
const chosen = CELLS.filter(({ id }) => wanted.length === 0 || wanted.includes(id));
const work = await mkdtemp(join(tmpdir(), 'sveltekit-inngest-addon-'));
let browser;
try {
	await run(process.execPath, npm('run', 'package'), { cwd: ROOT });
	await run(process.execPath, npm('pack', '--pack-destination', work), { cwd: ROOT });
	const [tarball] = (await readdir(work)).filter((name) => name.endsWith('.tgz'));
	const nodes = await installNodes(
		[...new Set(chosen.map(({ node }) => node))],
		join(work, 'nodes')
	);
	if (existsSync(CHROMIUM))
		browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
	for (const cell of chosen) {
		const node = nodes.get(cell.node);
		await tryCell(cell, { work, tarball: join(work, tarball), node, browser });
	}
} finally {
	await browser?.close();
	if (process.env.MATRIX_KEEP) console.error(`The apps are in ${work}`);
	else await rm(work, { recursive: true, force: true, maxRetries: 10 });
}
