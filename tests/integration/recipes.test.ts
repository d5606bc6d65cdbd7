import { build } from 'esbuild';
import { serve as serveFunctions } from 'inngest4/node';
import type { Inngest, InngestFunction } from 'inngest4';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import type { RequestHandler } from '@sveltejs/kit';
import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startInngestDev, type InngestDev } from '../../src/lib/dev/index.js';
import { COMMON } from '../docs/support/surroundings.js';
import { readPage, ROOT } from '../docs/support/markdown.js';
import { hasPostgres, PostgresServer } from '../support/postgres.js';

/** What the recipes' files export, as far as a test uses it by name. */
interface Recipes {
	inngest: Inngest;
	importFile: InngestFunction.Any;
	exportFiles: InngestFunction.Any;
	makeReport: InngestFunction.Any;
	sendDigest: InngestFunction.Any;
	bookTrip: InngestFunction.Any;
	relayOutbox: InngestFunction.Any;
	requestReport(teamId: string, day: string): Promise<void>;
	bookings: string[];
	pool: pg.Pool;
	OUTBOX: string;
	createOrder(id: string, item: string): Promise<void>;
	sendOutbox(): Promise<number>;
	POST: RequestHandler;
}

let folder: string;
let engine: InngestDev;
let app: Server;
let postgres: PostgresServer | undefined;
let recipes: Recipes;
const log: string[] = [];
const note = (text: string): void => void log.push(text);

/** Bundles the TypeScript of the page, as an app with `inngest` 4 would have it. */
async function load(): Promise<Recipes> {
	// Node finds packages from here.
	mkdirSync(join(ROOT, '.svelte-kit'), { recursive: true });
	folder = mkdtempSync(join(ROOT, '.svelte-kit/recipes-'));
	const shown = [...COMMON, ...readPage('docs/guides/recipes.md').blocks].filter(({ file }) =>
		file?.endsWith('.ts')
	);
	for (const { file, text } of shown) {
		mkdirSync(dirname(join(folder, file!)), { recursive: true });
		writeFileSync(join(folder, file!), text);
	}
	const outfile = join(folder, 'recipes.mjs');
	const files = shown.map(({ file }) => file!).filter((file) => !file.includes('realtime/'));
	await build({
		stdin: {
			contents: files.map((file) => `export * from './${file}';`).join('\n'),
			resolveDir: folder
		},
		outfile,
		bundle: true,
		format: 'esm',
		platform: 'node',
		tsconfigRaw: {},
		alias: {
			$lib: join(folder, 'src/lib'),
			inngest: 'inngest4',
			'sveltekit-inngest/server': join(ROOT, 'src/lib/server/index.ts'),
			'sveltekit-inngest': join(ROOT, 'src/lib/protocol/event.ts')
		},
		external: ['inngest4', 'zod', 'pg', 'ws', 'esm-env', '@opentelemetry/api']
	});
	return (await import(/* @vite-ignore */ outfile)) as Recipes;
}

beforeAll(async () => {
	[engine, postgres] = await Promise.all([
		startInngestDev({ logger: { info: note, warn: note, error: note } }),
		hasPostgres ? PostgresServer.start() : undefined
	]);
	process.env.INNGEST_BASE_URL = engine.url;
	process.env.INNGEST_DEV = '1';
	process.env.DATABASE_URL = postgres?.url;
	recipes = await load();
	const { inngest, importFile, exportFiles, makeReport, sendDigest, bookTrip, relayOutbox } =
		recipes;
	const functions = [importFile, exportFiles, makeReport, sendDigest, bookTrip, relayOutbox];
	app = createServer(serveFunctions({ client: inngest, functions }));
	await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve));
	const { port } = app.address() as AddressInfo;
	expect(await engine.register(`http://127.0.0.1:${port}/api/inngest`)).toBe(true);
}, 60_000);

afterAll(async () => {
	await engine.close();
	app.closeAllConnections();
	app.close();
	await recipes.pool.end();
	await postgres?.close();
	rmSync(folder, { recursive: true, force: true });
});

/** Asks again for up to ten seconds. */
const eventually = <T>(read: () => T) => expect.poll(read, { timeout: 10_000 });

/** Runs of a function, the oldest first. */
const runsOf = (id: string) =>
	engine.runs.filter(({ functionId }) => functionId === `my-app-${id}`);

/** Outputs of the runs that have ended. */
const outputs = (id: string): unknown[] =>
	runsOf(id)
		.filter(({ status }) => status === 'Completed')
		.map(({ output }) => output);

test('a lock: files of one account are imported; the engine says that it does not queue them', async () => {
	const data = { accountId: 'a', file: 'x.csv', text: '1\n2' };
	await recipes.inngest.send({ name: 'files/uploaded', data });
	await eventually(() => outputs('import-file')).toEqual([{ file: 'x.csv', rows: 2 }]);
	expect(log.join('\n')).toMatch(/import-file.*concurrency/);
});

test('a job tells its progress, and ends when its owner cancels it, and nobody else', async () => {
	const { text, leave } = read(await post('alice', { channel: 'export:alice' }));
	await eventually(text).toContain('"connected"');
	const sent = await post('alice', { event: 'exports/start', id: '1', data: { total: 500 } });
	expect(await sent.json()).toMatchObject({ status: 'done', result: { id: '1' } });
	await eventually(text).toContain('"done":1');
	expect((await post('bob', { channel: 'export:alice' })).status).toBe(403);
	await post('bob', { event: 'exports/cancel', id: '2', data: { id: '1' } });
	await eventually(text).toContain('"done":3');
	expect(runsOf('export-files').map(({ status }) => status)).toEqual(['Running']);
	await post('alice', { event: 'exports/cancel', id: '3', data: { id: '1' } });
	await eventually(text).toContain('"how":"cancelled"');
	await eventually(() => runsOf('export-files').at(0)?.status).toBe('Cancelled');
	await leave();
});

test('a job that nobody cancels finishes', async () => {
	await post('carol', { event: 'exports/start', id: '1', data: { total: 2 } });
	await eventually(() => runsOf('export-files').at(-1)?.status).toBe('Completed');
});

test('a task that is asked for three times runs once', async () => {
	for (let n = 0; n < 3; n++) await recipes.requestReport('red', 'Monday');
	await recipes.requestReport('red', 'Tuesday');
	await eventually(() => outputs('make-report').length).toBe(2);
	expect(outputs('make-report').sort()).toEqual(['Report for Monday', 'Report for Tuesday']);
	expect(runsOf('make-report')).toHaveLength(2);
});

test('a scheduled task registers its schedule, and runs by hand', async () => {
	await recipes.inngest.send({ name: 'digest/requested', data: {} });
	await eventually(() => outputs('send-digest')).toEqual(['Three orders are late.']);
});

test('a saga that fails undoes what it did, the last first', async () => {
	const parts = ['flight', 'hotel', 'sold out'];
	await recipes.inngest.send({ name: 'trips/requested', data: { parts } });
	await eventually(() => outputs('book-trip')).toEqual(['cancelled: There is no room left']);
	expect(recipes.bookings).toEqual([]);
	await recipes.inngest.send({ name: 'trips/requested', data: { parts: ['flight', 'hotel'] } });
	await eventually(() => outputs('book-trip')).toHaveLength(2);
	expect(recipes.bookings).toEqual(['flight', 'hotel']);
});

test.skipIf(!hasPostgres)(
	'an outbox sends what was committed, once, and nothing else',
	async () => {
		const { pool, createOrder, sendOutbox, OUTBOX, inngest } = recipes;
		await pool.query(OUTBOX);
		const id = crypto.randomUUID();
		await createOrder(id, 'tea');
		// The same order again: neither the row nor the event.
		await expect(createOrder(id, 'tea')).rejects.toThrow(/duplicate key/);
		await eventually(() => outputs('relay-outbox')).toContain(1);
		expect((await pool.query('select from outbox')).rowCount).toBe(0);
		// While Inngest is away the event waits.
		const { send } = inngest;
		inngest.send = () => Promise.reject(new Error('away'));
		await createOrder(crypto.randomUUID(), 'milk');
		await expect(sendOutbox()).rejects.toThrow('away');
		expect((await pool.query('select from outbox')).rowCount).toBe(1);
		inngest.send = send;
		const counts = await Promise.all([sendOutbox(), sendOutbox(), sendOutbox()]);
		expect(counts.sort()).toEqual([0, 0, 1]);
	}
);

/** Asks the endpoint of the recipe for somebody. */
async function post(userId: string, body: object): Promise<Response> {
	const url = new URL('http://localhost/api/exports');
	const request = new Request(url, { method: 'POST', body: JSON.stringify(body) });
	const event = {
		request,
		url,
		locals: { user: { id: userId } },
		getClientAddress: () => userId
	};
	return recipes.POST(event as never);
}

/** @returns what a stream has said so far, and how to leave it. */
function read({ body }: Response): { text(): string; leave(): Promise<void> } {
	const reader = body!.getReader();
	const decoder = new TextDecoder();
	let text = '';
	void (async () => {
		for (;;) {
			const { done, value } = await reader.read();
			if (done) return;
			text += decoder.decode(value, { stream: true });
		}
	})();
	return { text: () => text, leave: () => reader.cancel() };
}
