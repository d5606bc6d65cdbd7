import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { GetStepTools } from 'inngest';
import WebSocket from 'ws';
import { startInngestDev } from '../../../src/lib/dev/index.js';
import type { InngestDev } from '../../../src/lib/dev/index.js';
import { createClient, registerApp, serveApp, signal } from './support/app.js';
import type { TestApp, TestClient } from './support/app.js';
import { fetchToken, topicOf } from './support/engine.js';
import { TestSocket } from './support/socket.js';

const logger = { info: vi.fn(), warn: vi.fn(), error: vi.fn() };
let dev: InngestDev;
let client: TestClient;
let app: TestApp | undefined;

beforeEach(async () => {
	vi.clearAllMocks();
	dev = await startInngestDev({ logger });
	client = createClient(dev);
});
afterEach(async () => {
	await app?.close();
	app = undefined;
	await dev.close();
});

const warnings = (): string[] => logger.warn.mock.calls.map(([text]) => String(text));
const ended = (count: number): Promise<void> =>
	vi.waitFor(
		() => expect(dev.runs.filter(({ endedAt }) => endedAt !== undefined)).toHaveLength(count),
		5_000
	);

it('shows runs with what came of them', async () => {
	app = await serveApp(dev, client, [
		client.createFunction({ id: 'good' }, { event: 'a' }, async ({ step }) => {
			await step.run('one', () => 1);
			return { fine: true };
		}),
		client.createFunction({ id: 'bad', retries: 1 }, { event: 'a' }, () => {
			throw new Error('broken');
		})
	]);
	await registerApp(app);
	const [eventId] = await dev.send({ name: 'a' });
	await ended(2);
	const [good, bad] = dev.runs;
	expect(good).toMatchObject({
		functionId: `${client.id}-good`,
		eventId,
		eventName: 'a',
		status: 'Completed',
		output: { fine: true },
		attempts: 1,
		steps: 1
	});
	expect(bad).toMatchObject({ status: 'Failed', attempts: 2, error: { message: 'broken' } });
	const response = await fetch(`${dev.url}/v1/runs/${good!.id}`);
	expect(await response.json()).toMatchObject({
		data: { run_id: good!.id, event_id: eventId, status: 'Completed', output: { fine: true } }
	});
});

it('retries twice as late each time, with four retries unless told otherwise', async () => {
	const calls: number[] = [];
	app = await serveApp(dev, client, [
		client.createFunction({ id: 'fn' }, { event: 'a' }, () => {
			calls.push(Date.now());
			throw new Error('broken');
		})
	]);
	await registerApp(app);
	await dev.send({ name: 'a' });
	await ended(1);
	expect(calls).toHaveLength(5);
	const waits = calls.slice(1).map((at, n) => at - calls[n]!);
	for (const [n, wait] of waits.entries()) expect(wait).toBeGreaterThanOrEqual(200 * 2 ** n);
});

it('keeps asking the app to register until it answers', async () => {
	const away = await serveApp(dev, client, []);
	await away.close();
	const other = await startInngestDev({ appUrl: away.url, logger });
	try {
		const started = signal<string>();
		const client = createClient(other);
		const fn = client.createFunction({ id: 'fn' }, { event: 'a' }, ({ runId }) =>
			started.resolve(runId)
		);
		app = await serveApp(other, client, [fn], Number(new URL(away.url).port));
		await vi.waitFor(async () => {
			await other.send({ name: 'a' });
			expect(other.runs.length).toBeGreaterThan(0);
		}, 30_000);
		expect(await started.promise).toBe(other.runs[0]!.id);
	} finally {
		await other.close();
	}
});

it('says why an app did not register', async () => {
	const elsewhere = await startInngestDev({ logger });
	app = await serveApp(elsewhere, createClient(elsewhere), []);
	expect(await dev.register(app.url)).toBe(false);
	expect(await dev.register(`${elsewhere.url}/nothing`)).toBe(false);
	expect(await dev.register('http://127.0.0.1:9/')).toBe(false);
	expect(warnings()).toEqual([
		expect.stringContaining('registered somewhere else'),
		expect.stringContaining('Nothing is served there')
	]);
	await elsewhere.close();
});

it('warns once of settings that only change when steps run, and runs without them', async () => {
	const functions = [
		client.createFunction(
			{
				id: 'limits',
				concurrency: 1,
				priority: { run: '100' },
				throttle: { limit: 1, period: '1s' }
			},
			{ event: 'a' },
			() => {}
		)
	];
	app = await serveApp(dev, client, functions);
	await registerApp(app);
	await registerApp(app);
	expect(warnings()).toHaveLength(3);
	for (const [n, setting] of ['concurrency', 'priority', 'throttle'].entries()) {
		expect(warnings()[n]).toContain(`"${client.id}-limits" uses ${setting}`);
		expect(warnings()[n]).toContain('npx inngest-cli@latest dev');
	}
	await dev.send({ name: 'a' });
	await ended(1);
});

it.each([
	['batchEvents', { batchEvents: { maxSize: 3, timeout: '3s' } }],
	['debounce', { debounce: { period: '2s' } }],
	['idempotency', { idempotency: 'event.data.k' }],
	['rateLimit', { rateLimit: { limit: 1, period: '60s' } }],
	['singleton', { singleton: { mode: 'skip' } }],
	['timeouts', { timeouts: { finish: '2s' } }]
] as const)('refuses a function that uses %s, by name', async (setting, options) => {
	app = await serveApp(dev, client, [
		client.createFunction({ id: 'fn', ...options }, { event: 'a' }, () => {})
	]);
	const response = await registerApp(app);
	expect(response.status).toBe(400);
	const { message } = (await response.json()) as { message: string };
	expect(message).toContain(`"${client.id}-fn" uses ${setting}`);
	expect(message).toContain('npx inngest-cli@latest dev');
	await registerApp(app);
	expect(warnings()).toEqual([expect.stringContaining(message)]);
	await dev.send({ name: 'a' });
	expect(dev.runs).toEqual([]);
});

it('logs a refusal again when it comes back', async () => {
	const make = (options: { singleton?: { mode: 'skip' } }) =>
		client.createFunction({ id: 'fn', ...options }, { event: 'a' }, () => {});
	for (const options of [{ singleton: { mode: 'skip' } } as const, {}]) {
		for (let round = 0; round < 2; round++) {
			app = await serveApp(dev, client, [make(options)]);
			await registerApp(app);
			await app.close();
		}
	}
	app = await serveApp(dev, client, [make({ singleton: { mode: 'skip' } })]);
	await registerApp(app);
	expect(warnings()).toHaveLength(2);
});

it.each<[string, (tools: GetStepTools<TestClient>) => Promise<unknown>]>([
	[
		'step.waitForSignal()',
		(step) => step.waitForSignal('wait', { signal: 's', timeout: '1m', onConflict: 'fail' })
	],
	['step.fetch()', (step) => step.fetch('http://127.0.0.1:9/')]
])('fails a run at %s, and names it', async (name, use) => {
	app = await serveApp(dev, client, [
		client.createFunction({ id: 'fn', retries: 0 }, { event: 'a' }, ({ step }) => use(step))
	]);
	await registerApp(app);
	await dev.send({ name: 'a' });
	await ended(1);
	const message: unknown = expect.stringContaining(name);
	expect(dev.runs[0]).toMatchObject({ status: 'Failed', error: { message } });
	expect(warnings()[0]).toContain('npx inngest-cli@latest dev');
});

it('takes an app that is unavailable for a failed attempt', async () => {
	app = await serveApp(dev, client, [
		client.createFunction({ id: 'fn', retries: 0 }, { event: 'a' }, () => {})
	]);
	await registerApp(app);
	await app.close();
	await dev.send({ name: 'a' });
	await ended(1);
	expect(dev.runs[0]).toMatchObject({
		status: 'Failed',
		error: { message: expect.stringContaining('Unable to reach SDK URL') }
	});
});

it('cancels a run on request', async () => {
	app = await serveApp(dev, client, [
		client.createFunction({ id: 'fn' }, { event: 'a' }, ({ step }) => step.sleep('nap', '1h'))
	]);
	await registerApp(app);
	await dev.send({ name: 'a' });
	await fetch(`${dev.url}/v1/runs/${dev.runs[0]!.id}`, { method: 'DELETE' });
	expect(dev.runs[0]!.status).toBe('Cancelled');
});

it('cancels what runs and cuts sockets when it closes, and frees its port at once', async () => {
	const entered = signal<void>();
	app = await serveApp(dev, client, [
		client.createFunction({ id: 'fn' }, { event: 'a' }, async () => {
			entered.resolve();
			await new Promise(() => {});
		})
	]);
	await registerApp(app);
	await dev.send({ name: 'a' });
	await entered.promise;
	const socket = await TestSocket.open(dev, 'channel', ['a']);
	await dev.close();
	expect(dev.runs[0]!.status).toBe('Cancelled');
	expect(await socket.closed).toMatchObject({ code: 1006 });
	const again = await startInngestDev({ port: dev.port, logger });
	expect(again.url).toBe(dev.url);
	await again.close();
});

it('publishes without HTTP, and is done when subscribers have the message on its way', async () => {
	const socket = await TestSocket.open(dev, 'channel', ['a', 'b']);
	dev.publish({ channel: 'channel', topic: 'a', data: { html: '<b>' } });
	await dev.publishStream({ channel: 'channel', topic: 'b' }, ['one', new Uint8Array([50])]);
	const messages = await socket.received(5);
	expect(messages[0]).toMatchObject({ topic: 'a', data: { html: '<b>' } });
	expect(messages.slice(1).map(({ kind, data }) => [kind, data])).toMatchObject([
		['datastream-start', messages[1]!.data],
		['chunk', 'one'],
		['chunk', '2'],
		['datastream-end', messages[1]!.data]
	]);
	await socket.close();
});

it('counts sockets and what they listen to', async () => {
	expect([dev.sockets, dev.subscriptions]).toEqual([0, 0]);
	const one = await TestSocket.open(dev, 'channel', ['a', 'b']);
	const two = await TestSocket.open(dev, 'channel', ['a']);
	expect([dev.sockets, dev.subscriptions]).toEqual([2, 3]);
	await one.close();
	await two.close();
	await vi.waitFor(() => expect([dev.sockets, dev.subscriptions]).toEqual([0, 0]), 20_000);
});

it('announces its end, and then delivers but takes no more topics', async () => {
	const socket = await TestSocket.open(dev, 'channel', ['a']);
	dev.announceClosing();
	expect(await socket.received(1)).toEqual([
		{ kind: 'closing', data: '', created_at: expect.any(String), topic: '' }
	]);
	socket.send({ kind: 'sub', data: await fetchToken(dev, [topicOf('channel', 'b')]) });
	await socket.barrier();
	const next = await TestSocket.open(dev, 'channel', ['b']);
	dev.publish({ channel: 'channel', topic: 'b', data: 1 });
	dev.publish({ channel: 'channel', topic: 'a', data: 2 });
	expect((await socket.received(2))[1]).toMatchObject({ topic: 'a', data: 2 });
	expect(await next.received(1)).toMatchObject([{ topic: 'b', data: 1 }]);
	await socket.close();
	await next.close();
});

it('cuts announced sockets when their grace is over', async () => {
	const socket = await TestSocket.open(dev, 'channel', ['a']);
	dev.announceClosing(10);
	expect(await socket.closed).toMatchObject({ code: 1006 });
});

it('serves sockets on while it closes with grace', async () => {
	const socket = await TestSocket.open(dev, 'channel', ['a']);
	const closed = dev.close({ graceMs: 100 });
	await socket.received(1);
	dev.publish({ channel: 'channel', topic: 'a', data: 1 });
	expect((await socket.received(2))[1]).toMatchObject({ data: 1 });
	await closed;
	expect(await socket.closed).toMatchObject({ code: 1006 });
});

it('pings 15 s after its last ping was answered', async () => {
	vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
	try {
		const socket = await TestSocket.open(dev, 'channel', ['a']);
		await socket.pinged();
		await socket.barrier();
		let pings = 0;
		socket.socket.on('ping', () => pings++);
		vi.advanceTimersByTime(14_999);
		await socket.barrier();
		expect(pings).toBe(0);
		vi.advanceTimersByTime(1);
		await socket.barrier();
		expect(pings).toBe(1);
		await socket.close();
	} finally {
		vi.useRealTimers();
	}
});

it('drops sockets without a close frame', async () => {
	const socket = await TestSocket.open(dev, 'channel', ['a']);
	dev.dropSockets();
	expect(await socket.closed).toMatchObject({ code: 1006 });
});

it('refuses tokens with a status for as long as it is told to', async () => {
	const request = (): Promise<Response> =>
		fetch(`${dev.url}/v1/realtime/token`, { method: 'POST', body: '[]' });
	dev.failTokens(503);
	const refused = await request();
	expect(refused.status).toBe(503);
	expect(await refused.json()).toMatchObject({ error: 'Service Unavailable', status: 503 });
	dev.failTokens(null);
	expect((await request()).status).toBe(201);
});

it('leaves frames unread for as long as it is told to, and then handles them in order', async () => {
	const socket = await TestSocket.open(dev, 'channel', ['a']);
	dev.holdPongs(true);
	socket.send({ kind: 'sub', data: await fetchToken(dev, [topicOf('channel', 'b')]) });
	const barrier = socket.barrier().then(() => 'answered');
	// The server reads this request after the frames.
	await fetch(`${dev.url}/health`);
	expect(await Promise.race([barrier, Promise.resolve('waiting')])).toBe('waiting');
	expect(dev.subscriptions).toBe(1);
	dev.holdPongs(false);
	expect(await barrier).toBe('answered');
	expect(dev.subscriptions).toBe(2);
	await socket.close();
});

it('survives any request', async () => {
	const raw = async (text: string): Promise<string> => {
		const socket = connect(dev.port, '127.0.0.1');
		socket.end(text);
		const parts: Buffer[] = [];
		socket.on('data', (part: Buffer) => parts.push(part));
		await once(socket, 'close');
		return Buffer.concat(parts).toString();
	};
	const host = 'Host: localhost\r\n';
	expect(await raw('nonsense\r\n\r\n')).toContain('400');
	expect(await raw(`GET //[ HTTP/1.1\r\n${host}Connection: close\r\n\r\n`)).toContain('400');
	expect(await raw(`POST /e/%E0 HTTP/1.1\r\n${host}Connection: close\r\n\r\n`)).toContain('400');
	expect(
		await raw(`GET /else HTTP/1.1\r\n${host}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`)
	).toContain('404');
	const statuses = await Promise.all(
		[
			['GET', '/nothing', 404],
			['GET', '/v1/runs/none', 400],
			['GET', '/v1/runs/01ARZ3NDEKTSV4RRFFQ69G5FAV', 404],
			['POST', '/v1/checkpoint/01ARZ3NDEKTSV4RRFFQ69G5FAV/async', 404],
			['POST', '/v1/realtime/connect', 404]
		].map(async ([method, path, status]) => [
			(await fetch(dev.url + path, { method: String(method) })).status,
			status
		])
	);
	for (const [status, expected] of statuses) expect(status).toBe(expected);
	const jwt = await fetchToken(dev, [topicOf('channel', 'a')]);
	expect((await fetch(`${dev.url}/v1/realtime/connect?token=${jwt}`)).status).toBe(426);
	const socket = new WebSocket(`${dev.url.replace('http', 'ws')}/v1/realtime/connect?token=${jwt}`);
	await once(socket, 'open');
	socket.send('x'.repeat(2_000_000));
	expect((await once(socket, 'close'))[0]).toBe(1009);
	expect((await fetch(`${dev.url}/health`)).status).toBe(200);
});
