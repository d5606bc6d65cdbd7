import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { startInngestDev, type InngestDev } from '../../src/lib/dev/index.js';
import { buildApp, startApp, startCopies, type App } from '../support/child/start.js';
import { RawClient } from '../support/raw.js';
import { openStream } from '../support/sse.js';
import { eventually } from '../support/wait.js';

let bundle: Awaited<ReturnType<typeof buildApp>>;
beforeAll(async () => void (bundle = await buildApp()));
afterAll(() => bundle.remove());

let engine: InngestDev;
let app: App;
const clients: RawClient[] = [];
const children: ChildProcess[] = [];
beforeEach(async () => void (engine = await startInngestDev()));
afterEach(async () => {
	app?.process.kill('SIGKILL');
	for (const child of children.splice(0)) child.kill('SIGKILL');
	for (const client of clients.splice(0)) client.leave();
	await engine.close();
});

/** A client that reads nothing after `connected`, with more sent to it than its socket holds. */
async function stall(): Promise<RawClient> {
	const client = await RawClient.open(app.url);
	clients.push(client);
	client.post({ channel: 'demo' });
	await eventually(() => client.text.includes('"connected"'));
	client.stall();
	return client;
}

async function publish(count: number): Promise<void> {
	const { messages } = (await app.ask('stats')).hub;
	for (let n = 0; n < count; n++) {
		engine.publish({ channel: 'demo', topic: 'message', data: { message: 'x'.repeat(100_000) } });
		await new Promise(setImmediate);
	}
	while ((await app.ask('stats')).hub.messages < messages + count);
}

test.each(['SIGTERM', 'SIGINT'] as const)(
	'on %s streams end without a last word, also a stalled one, and the process exits by itself',
	async (signal) => {
		app = await startApp(bundle.file, {
			engineUrl: engine.url,
			limits: { maxBufferedBytes: 64_000_000 }
		});
		const stream = await openStream(app.url, { channel: 'demo' });
		await stream.connected();
		const several = await openStream(app.url, { subscriptions: [{ channel: 'demo' }] });
		await several.connected();
		await stall();
		await publish(100);
		expect((await app.ask('stats')).streams).toBe(3);
		const { code, afterMs } = await app.stop(signal);
		expect(code).toBe(0);
		expect(afterMs).toBeLessThan(10_000);
		for (const reader of [stream, several]) {
			await reader.end();
			expect(reader.messages).toHaveLength(100);
			expect(reader.statuses).toEqual(['connecting', 'connected']);
		}
		await eventually(() => engine.sockets === 0);
	}
);

test('a request that is authorized while the server stops is told to come back elsewhere', async () => {
	app = await startApp(bundle.file, { engineUrl: engine.url });
	const asked = app.authorizing();
	const answering = fetch(app.url, {
		method: 'POST',
		headers: { 'content-type': 'application/json' },
		body: JSON.stringify({ channel: 'demo', params: { wait: true } })
	});
	await asked;
	const stopping = app.stop('SIGTERM');
	const answer = await answering;
	expect(answer.status).toBe(503);
	expect(answer.headers.get('retry-after')).toBe('1');
	expect(await answer.json()).toEqual({ error: 'This server is stopping.' });
	const { code, afterMs } = await stopping;
	expect(code).toBe(0);
	expect(afterMs).toBeLessThan(10_000);
});

test('where nobody else handles the signal it ends the process, as it does by default', async () => {
	app = await startApp(bundle.file, { engineUrl: engine.url, signals: 'none' });
	const stream = await openStream(app.url, { channel: 'demo' });
	await stream.connected();
	const { signal, afterMs } = await app.stop('SIGTERM');
	expect(signal).toBe('SIGTERM');
	expect(afterMs).toBeLessThan(1_000);
	await stream.end();
});

test('a server that is not the adapter’s is not held by channels that were kept warm', async () => {
	app = await startApp(bundle.file, { engineUrl: engine.url, signals: 'own' });
	const client = await stall();
	client.leave();
	while ((await app.ask('stats')).streams > 0);
	expect(engine.sockets).toBe(1);
	const { code, afterMs } = await app.stop('SIGTERM');
	expect(code).toBe(0);
	expect(afterMs).toBeLessThan(10_000);
});

test.each(['SIGTERM', 'SIGINT'] as const)(
	'%s ends a process that has loaded the package twice, and the streams of both copies',
	async (signal) => {
		const { process: child, urls } = await startCopies(bundle.file, {
			engineUrl: engine.url,
			copies: 2
		});
		children.push(child);
		const streams = await Promise.all(urls.map((url) => openStream(url, { channel: 'demo' })));
		for (const stream of streams) await stream.connected();
		const ended = once(child, 'exit');
		child.kill(signal);
		expect(await ended).toEqual([null, signal]);
		for (const stream of streams) {
			await stream.end();
			expect(stream.statuses).toEqual(['connecting', 'connected']);
		}
	}
);
