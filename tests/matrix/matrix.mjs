// Installs the packed package in apps of every supported combination, builds them, and streams.
//   npm run test:matrix                    every cell; writes the table of docs/compatibility.md, unless CI
//   npm run test:matrix -- kit3-sdk4       some cells; writes nothing
//   MATRIX_KEEP=1 npm run test:matrix      leaves the apps, to look at them
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { App } from './app.mjs';
import { cells } from './cells.mjs';
import { installNodes } from './nodes.mjs';
import { npm } from './npm.mjs';
import { run } from './processes.mjs';
import { stream } from './stream.mjs';
import { renderTable, writeTable } from './table.mjs';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const CHROMIUM = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium';

const wanted = process.argv.slice(2);
const unknown = wanted.filter((id) => !cells.some((cell) => cell.id === id));
if (unknown.length > 0) throw new Error(`No such cells: ${unknown.join(', ')}`);
const chosen = cells.filter(({ id }) => wanted.length === 0 || wanted.includes(id));
const work = await mkdtemp(join(tmpdir(), 'sveltekit-inngest-matrix-'));

async function pack() {
	await run(process.execPath, npm('run', 'package'), { cwd: ROOT });
	await run(process.execPath, npm('pack', '--pack-destination', work), { cwd: ROOT });
	const [tarball] = (await readdir(work)).filter((name) => name.endsWith('.tgz'));
	return join(work, tarball);
}

async function openBrowser() {
	if (!existsSync(CHROMIUM)) return undefined;
	const { chromium } = await import('playwright');
	return chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
}

/** Runs a cell; what fails is told in its row. */
async function runCell(cell, { tarball, nodes, browser }) {
	const app = new App(cell, {
		folder: join(work, cell.id),
		tarball,
		node: nodes.get(cell.node)
	});
	const serveOn = cell.serveOn ?? [cell.node];
	const results = { install: '–', types: '–', build: '–', stream: '–', browser: '–' };
	let failed = false;
	const step = async (name, action) => {
		if (failed) return;
		const started = performance.now();
		try {
			await action();
			results[name] = 'yes';
		} catch (error) {
			failed = true;
			results[name] = '**no**';
			console.error(`${cell.id}: ${name} failed\n${error.stack}\n`);
		}
		console.error(`${cell.id}: ${name} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
	};
	await app.generate();
	await step('install', () => app.install());
	if (cell.types !== false)
		await step('types', async () => {
			const others = await app.check();
			if (others > 0) console.error(`${cell.id}: ${others} type errors in other packages`);
		});
	await step('build', () => app.build());
	await step('stream', async () => {
		for (const major of serveOn) {
			const withBrowser = cell.browser && major === serveOn[0] ? browser : undefined;
			await stream({ app, node: nodes.get(major), browser: withBrowser });
			if (withBrowser) results.browser = 'yes';
		}
	});
	const version = async (name) => (await app.version(name)) ?? '–';
	const row = {
		'': cell.title,
		'@sveltejs/kit': await version('@sveltejs/kit'),
		svelte: await version('svelte'),
		vite: await version('vite'),
		inngest: await version('inngest'),
		'@inngest/realtime': await version('@inngest/realtime'),
		'runs on':
			cell.runtime === 'workerd'
				? `workerd ${await version('workerd')}`
				: `Node ${serveOn.join(', ')}`,
		installs: results.install,
		types: results.types,
		builds: results.build,
		streams: results.stream,
		browser: results.browser
	};
	return { row, failed };
}

let browser;
try {
	const majors = [...new Set(chosen.flatMap((cell) => [cell.node, ...(cell.serveOn ?? [])]))];
	const tarball = await pack();
	const nodes = await installNodes(majors, join(work, 'nodes'));
	browser = await openBrowser();
	const results = [];
	for (const cell of chosen) results.push(await runCell(cell, { tarball, nodes, browser }));
	const table = renderTable(results.map(({ row }) => row));
	console.log(`\n${table}`);
	if (wanted.length === 0 && !process.env.CI)
		await writeTable(join(ROOT, 'docs/compatibility.md'), table);
	if (results.some(({ failed }) => failed)) process.exitCode = 1;
} finally {
	await browser?.close();
	if (process.env.MATRIX_KEEP) console.error(`The apps are in ${work}`);
	else await rm(work, { recursive: true, force: true, maxRetries: 10 });
}
