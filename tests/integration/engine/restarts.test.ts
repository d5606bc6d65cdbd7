import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { InngestFunction } from 'inngest';
import { startInngestDev } from '../../../src/lib/dev/index.js';
import type { InngestDev } from '../../../src/lib/dev/index.js';
import { createClient, registerApp, serveApp, signal } from './support/app.js';
import type { TestApp, TestClient } from './support/app.js';

const logger = { info: vi.fn(), warn: vi.fn(), error: vi.fn() };
let dev: InngestDev;
let client: TestClient;
let app: TestApp | undefined;

beforeEach(async () => {
	dev = await startInngestDev({ logger });
	client = createClient(dev);
});
afterEach(async () => {
	await app?.close();
	app = undefined;
	await dev.close();
});

const portOf = ({ url }: TestApp): number => Number(new URL(url).port);
const ended = (): Promise<void> =>
	vi.waitFor(() => expect(dev.runs.every(({ endedAt }) => endedAt)).toBe(true), 40_000);

it('outlasts an app that is unavailable for 3 s, with a single retry', async () => {
	const fn = client.createFunction(
		{ id: 'fn', retries: 1 },
		{ event: 'a' },
		({ attempt }) => attempt
	);
	app = await serveApp(dev, client, [fn]);
	await registerApp(app);
	await app.close();
	await dev.send({ name: 'a' });
	await new Promise((resolve) => setTimeout(resolve, 3_000));
	app = await serveApp(dev, client, [fn], portOf(app));
	await ended();
	expect(dev.runs).toMatchObject([{ status: 'Completed', output: 1 }]);
});

it('goes on at the port at which the app has registered again', async () => {
	const asleep = signal<void>();
	const make = (): InngestFunction.Any =>
		client.createFunction({ id: 'fn', retries: 0 }, { event: 'a' }, async ({ step }) => {
			const first = await step.run('first', () => {
				asleep.resolve();
				return 1;
			});
			await step.sleep('nap', '1s');
			return first + (await step.run('second', () => 1));
		});
	const first = await serveApp(dev, client, [make()]);
	await registerApp(first);
	await dev.send({ name: 'a' });
	await asleep.promise;
	await vi.waitFor(() => expect(dev.runs[0]!.steps).toBe(1), 20_000);
	await new Promise((resolve) => setTimeout(resolve, 200));
	await first.close();
	app = await serveApp(dev, client, [make()]);
	expect(app.url).not.toBe(first.url);
	await registerApp(app);
	await ended();
	expect(dev.runs).toMatchObject([{ status: 'Completed', output: 2 }]);
});

it('comes back to an app that it was told of when another of the same name is gone', async () => {
	const fn = (from: string): InngestFunction.Any =>
		client.createFunction({ id: 'fn', retries: 1 }, { event: 'a' }, () => from);
	app = await serveApp(dev, client, [fn('vite dev')]);
	expect(await dev.register(app.url)).toBe(true);
	const trial = await serveApp(dev, client, [fn('production build')]);
	await registerApp(trial);
	await trial.close();
	await dev.send({ name: 'a' });
	await ended();
	expect(dev.runs).toMatchObject([{ status: 'Completed', output: 'vite dev' }]);
});

it('gives the output of a failed run as the function threw it', async () => {
	app = await serveApp(dev, client, [
		client.createFunction({ id: 'error', retries: 0 }, { event: 'a' }, () => {
			throw new TypeError('broken');
		}),
		client.createFunction({ id: 'text', retries: 0 }, { event: 'a' }, () => {
			throw 'text';
		})
	]);
	await registerApp(app);
	const [eventId] = await dev.send({ name: 'a' });
	await ended();
	const response = await fetch(`${dev.url}/v1/events/${eventId}/runs`);
	const { data } = (await response.json()) as { data: { output: unknown }[] };
	const stack: unknown = expect.any(String);
	expect(data.map(({ output }) => output)).toEqual([
		{ __serialized: true, name: 'TypeError', message: 'broken', stack },
		{ __serialized: true, name: 'Error', message: 'text', stack }
	]);
	expect(dev.runs.map(({ error }) => error?.message)).toEqual(['broken', 'text']);
});

it.each([
	[200, 'hello', 'hello'],
	[206, '[]', ''],
	[
		500,
		'oops',
		{
			message: expect.stringContaining('HTTP 500') as unknown,
			stack: expect.stringContaining('oops') as unknown
		}
	]
])(
	'gives an output where something else than the SDK answered %i',
	async (status, body, output) => {
		app = await serveApp(dev, client, [
			client.createFunction({ id: 'fn', retries: 0 }, { event: 'a' }, () => {})
		]);
		await registerApp(app);
		await app.close();
		const other = createServer((_request, response) => response.writeHead(status).end(body));
		await new Promise<void>((resolve) => other.listen(portOf(app!), '127.0.0.1', resolve));
		const [eventId] = await dev.send({ name: 'a' });
		await ended();
		const response = await fetch(`${dev.url}/v1/events/${eventId}/runs`);
		expect(await response.json()).toMatchObject({ data: [{ status: 'Failed', output }] });
		other.close();
		other.closeAllConnections();
	}
);

it("passes a trace on: the sender's, else one of the run's own", async () => {
	const seen: { traceparent: string; tracestate: string }[] = [];
	const proxy = createServer((request, response) => {
		const { traceparent, tracestate } = request.headers as Record<string, string>;
		seen.push({ traceparent: traceparent!, tracestate: tracestate! });
		response.writeHead(206, { 'x-inngest-sdk': 'js:v3.54.2', 'x-inngest-req-version': '1' });
		const done = seen.length % 2 === 0;
		response.end(
			JSON.stringify([{ id: `${seen.length}`, op: done ? 'RunComplete' : 'StepRun', data: 1 }])
		);
	});
	await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
	const { port } = proxy.address() as AddressInfo;
	const url = `http://127.0.0.1:${port}/api/inngest`;
	const step = { id: 'step', name: 'step', runtime: { type: 'http', url } };
	await fetch(`${dev.url}/fn/register`, {
		method: 'POST',
		body: JSON.stringify({
			url,
			appName: 'traced',
			functions: [{ id: 'traced-fn', name: 'fn', triggers: [{ event: 'a' }], steps: { step } }]
		})
	});
	const TRACE = '0af7651916cd43dd8448eb211c80319c';
	const send = (headers: Record<string, string>): Promise<Response> =>
		fetch(`${dev.url}/e/key`, { method: 'POST', body: '{"name":"a","data":{}}', headers });
	await send({ traceparent: `00-${TRACE}-b7ad6b7169203331-01`, tracestate: 'vendor=1' });
	await ended();
	await send({ traceparent: 'nonsense' });
	await ended();
	const parts = seen.map(({ traceparent }) => traceparent.split('-'));
	for (const [version, id, span, flags] of parts) {
		expect([version, flags]).toEqual(['00', '01']);
		expect(id).toMatch(/^[\da-f]{32}$/);
		expect(span).toMatch(/^[\da-f]{16}$/);
	}
	expect(parts.slice(0, 2).map(([, id]) => id)).toEqual([TRACE, TRACE]);
	expect(parts[2]![1]).toBe(parts[3]![1]);
	expect(parts[2]![1]).not.toBe(TRACE);
	expect(new Set(parts.map(([, , span]) => span)).size).toBe(4);
	expect(seen[0]!.tracestate).toMatch(
		/^inngest@fn=[\da-f-]{36},inngest@app=[\da-f-]{36},vendor=1$/
	);
	expect(seen[2]!.tracestate).not.toContain('vendor');
	proxy.close();
	proxy.closeAllConnections();
});
