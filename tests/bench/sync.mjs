// Synced tables in Chromium: npm run bench -- sync
import { build } from 'esbuild';
import { Inngest } from 'inngest';
import { chromium } from 'playwright';
import { fileURLToPath } from 'node:url';
import { runnerImport } from 'vite';
import { z } from 'zod';

const ROWS = 10_000;
const WRITES = 200;
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const load = async (path) => (await runnerImport(here(path), { configFile: false })).module;

const { createRealtime } = await load('../../src/lib/server/index.ts');
const { defineSync, defineTable, syncTables } = await load('../../src/lib/sync/server/index.ts');
const { serve } = await load('../support/server.ts');

const schema = z.object({ id: z.string(), title: z.string(), done: z.boolean(), at: z.number() });
const database = Array.from({ length: ROWS }, (_, at) => ({
	id: `row ${at}`,
	title: `The title of row ${at}`,
	done: at % 3 === 0,
	at
}));
const sync = (name, rows) =>
	defineSync({
		table: defineTable(name, { schema, key: 'id' }),
		authorize: () => true,
		scope: () => 'all',
		fetch: (_, { cursor, limit }) => ({
			rows: rows.slice(cursor ?? 0, (cursor ?? 0) + limit),
			cursor: Math.min(rows.length, (cursor ?? 0) + limit)
		}),
		create: (_, row) => row
	});
const realtime = createRealtime({
	inngest: new Inngest({ id: 'bench', isDev: true }),
	...syncTables([sync('rows', database), sync('others', [])])
});

const { outputFiles } = await build({
	entryPoints: [here('syncPage.js')],
	bundle: true,
	format: 'esm',
	minify: true,
	conditions: ['browser'],
	define: { 'process.env.NODE_ENV': '"production"' },
	write: false
});
const page = { 'content-type': 'text/html' };
const script = { 'content-type': 'text/javascript' };
const server = await serve({
	POST: realtime.POST,
	GET: ({ url }) =>
		url.pathname === '/page.js'
			? new Response(outputFiles[0].contents, { headers: script })
			: new Response('<script type="module" src="/page.js"></script>', { headers: page })
});
const browser = await chromium.launch({
	executablePath: process.env.CHROMIUM_PATH ?? '/usr/bin/chromium',
	args: ['--no-sandbox', '--disable-gpu']
});
const tab = await browser.newPage();
await tab.goto(server.url);
await tab.waitForFunction(() => window.localWrites);

const times = [];
for (let n = 0; n < 3; n++) {
	const { ms, count } = await tab.evaluate(() => window.firstSync());
	if (count !== ROWS) throw new Error(`${count} rows arrived.`);
	times.push(ms);
}
const { write, shown, otherRuns } = await tab.evaluate((n) => window.localWrites(n), WRITES);

console.log('\n## Synced tables in Chromium\n');
console.log(
	`First sync of ${ROWS} rows: ${times.map((ms) => `${Math.round(ms)} ms`).join(', ')} (three times)`
);
console.log(
	`Local write: ${write.toFixed(1)} ms, until a query shows it: ${shown.toFixed(1)} ms (p50)`
);
console.log(`Runs of a query of another table during ${WRITES} writes: ${otherRuns}`);

await browser.close();
realtime.close();
await server.close();
