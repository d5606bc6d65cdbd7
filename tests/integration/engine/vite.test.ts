import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createLogger, createServer, resolveConfig } from 'vite';
import type { InlineConfig, Plugin, ViteDevServer } from 'vite';
import type { Mock } from 'vitest';
import { startInngestDev } from '../../../src/lib/dev/index.js';
import { inngestDev } from '../../../src/lib/dev/vite.js';
import type { InngestDevPluginOptions } from '../../../src/lib/dev/vite.js';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const LOADS = Symbol.for('sveltekit-inngest.loads');
const RELOAD = Symbol.for('sveltekit-inngest.reload');
const globals = globalThis as { [LOADS]?: number; [RELOAD]?: Set<() => void> };

let root: string;
let info: Mock<(text: string) => void>;
let warn: Mock<(text: string) => void>;
let server: ViteDevServer | undefined;

beforeEach(async () => {
	root = await mkdtemp(join(import.meta.dirname, 'app-'));
	await writeApp('first');
	for (const name of ['INNGEST_BASE_URL', 'INNGEST_DEV', 'INNGEST_EVENT_KEY']) {
		vi.stubEnv(name, undefined);
	}
});
afterEach(async () => {
	await server?.close();
	server = undefined;
	vi.unstubAllEnvs();
	await rm(root, { recursive: true });
});

/** The server code of an app with one function. */
function writeApp(functionId: string): Promise<void> {
	return writeFile(
		join(root, 'functions.ts'),
		`import { Inngest } from 'inngest';
		import { serve } from 'inngest/node';
		const client = new Inngest({ id: 'app' });
		export const handler = serve({
			client,
			functions: [client.createFunction({ id: '${functionId}' }, { event: 'a' }, () => 'done')]
		});`
	);
}

/** Serves the app as a framework does: its code is loaded through Vite. */
const framework: Plugin = {
	name: 'framework',
	configureServer(vite) {
		const path = `${vite.config.base}api/inngest`;
		vite.middlewares.use((request, response, next) => {
			if (!request.url?.startsWith(path)) return next();
			vite
				.ssrLoadModule('/functions.ts')
				.then(({ handler }) => (handler as Handler)(request, response), next);
		});
	}
};

function config(options: InngestDevPluginOptions, base = '/'): InlineConfig {
	const customLogger = createLogger('silent');
	info = vi.fn();
	warn = vi.fn();
	customLogger.info = info;
	customLogger.warn = warn;
	return {
		configFile: false,
		root,
		base,
		customLogger,
		server: { port: 0, ws: false },
		plugins: [inngestDev({ underVitest: true, port: 0, ...options }), framework]
	};
}

async function start(options: InngestDevPluginOptions = {}, base?: string): Promise<ViteDevServer> {
	server = await createServer(config(options, base));
	return server.listen();
}

const lines = (): string[] =>
	info.mock.calls.map(([text]) => String(text)).filter((text) => text.includes('Inngest'));

/** What was logged about registering. */
const outcomes = (): string[] =>
	[...info.mock.calls, ...warn.mock.calls]
		.map(([text]) => String(text))
		.filter((text) => text.startsWith('[inngest dev]'));

/** A dev server of another process: the registrations that it got, and what it answers to them. */
async function external(port = 0, status = 200) {
	const registrations: { url: string; functions: { id: string }[] }[] = [];
	const answer = { status, urls: [] as string[] };
	const { server, port: taken } = await listen((request, response) => {
		if (request.url !== '/fn/register') {
			const startOpts = { urls: answer.urls };
			// Another app at the same path is no reason to leave this one unregistered.
			const functions = [{ url: 'http://localhost:9/api/inngest' }];
			return response.end(JSON.stringify({ version: '1.0.0', startOpts, functions }));
		}
		let body = '';
		request.on('data', (part: Buffer) => (body += part.toString()));
		request.on('end', () => {
			registrations.push(JSON.parse(body) as (typeof registrations)[number]);
			response.writeHead(answer.status, { 'content-type': 'application/json' });
			response.end(
				JSON.stringify(
					answer.status === 200 ? { ok: true } : { error: 'broken cron', status: answer.status }
				)
			);
		});
	}, port);
	const close = (): Promise<void> =>
		new Promise((resolve) => {
			server.close(() => resolve());
			server.closeAllConnections();
		});
	return { url: `http://127.0.0.1:${taken}`, registrations, answer, close };
}

async function registered(url = process.env.INNGEST_BASE_URL): Promise<string[]> {
	const response = await fetch(`${url}/dev`);
	const { functions } = (await response.json()) as { functions: { id: string }[] };
	return functions.map(({ id }) => id);
}

async function listen(handler: Handler, port = 0): Promise<{ server: Server; port: number }> {
	const server = createHttpServer(handler);
	await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
	return { server, port: (server.address() as AddressInfo).port };
}

it('starts an engine, points the app at it, registers it, and says so in one line', async () => {
	await start();
	const url = process.env.INNGEST_BASE_URL;
	expect(lines()).toEqual([`  ➜  Inngest: embedded engine at ${url}`]);
	expect(process.env.INNGEST_DEV).toBe('1');
	expect(globals[LOADS]).toBe(1);
	await vi.waitFor(async () => expect(await registered()).toEqual(['app-first']), 30_000);
	const sent = await fetch(`${url}/e/key`, { method: 'POST', body: '{"name":"a"}' });
	const { ids } = (await sent.json()) as { ids: string[] };
	await vi.waitFor(async () => {
		const { data } = (await (await fetch(`${url}/v1/events/${ids[0]}/runs`)).json()) as {
			data: unknown;
		};
		expect(data).toMatchObject([{ status: 'Completed', output: 'done' }]);
	}, 30_000);
});

it('ends the engine with the server and gives the environment back', async () => {
	await start();
	const url = process.env.INNGEST_BASE_URL;
	await server!.close();
	expect(process.env.INNGEST_BASE_URL).toBeUndefined();
	expect(process.env.INNGEST_DEV).toBeUndefined();
	expect(globals[LOADS]).toBeUndefined();
	await expect(fetch(`${url}/health`)).rejects.toThrow();
});

it('registers the app again when its server code changes, and ends what holds on to the old', async () => {
	await start();
	await vi.waitFor(async () => expect(await registered()).toEqual(['app-first']), 30_000);
	const reload = vi.fn();
	globals[RELOAD]!.add(reload);
	try {
		await writeApp('second');
		await vi.waitFor(async () => expect(await registered()).toEqual(['app-second']), 30_000);
		expect(reload).toHaveBeenCalledTimes(1);
		expect(globals[LOADS]).toBeGreaterThan(1);
	} finally {
		globals[RELOAD]!.delete(reload);
	}
});

it('keeps its engine when the server restarts', async () => {
	await start();
	const url = process.env.INNGEST_BASE_URL;
	await vi.waitFor(async () => expect(await registered()).toEqual(['app-first']), 30_000);
	await server!.restart();
	expect(process.env.INNGEST_BASE_URL).toBe(url);
	expect(await registered(url)).toEqual(['app-first']);
	expect(lines()).toHaveLength(1);
	await server!.close();
	await expect(fetch(`${url}/health`)).rejects.toThrow();
});

it('uses the dev server that answers at INNGEST_BASE_URL, and registers the app there at once', async () => {
	const { url, registrations, close } = await external();
	vi.stubEnv('INNGEST_BASE_URL', url);
	const vite = await start();
	expect(lines()).toEqual([`  ➜  Inngest: dev server at ${url}`]);
	expect(process.env.INNGEST_BASE_URL).toBe(url);
	expect(process.env.INNGEST_DEV).toBe('1');
	const { port } = vite.httpServer!.address() as AddressInfo;
	const appUrl = `http://localhost:${port}/api/inngest`;
	await vi.waitFor(() => expect(outcomes()).toHaveLength(1), 30_000);
	expect(outcomes()).toEqual([
		`[inngest dev] Registered the app at ${appUrl} with the dev server at ${url}`
	]);
	expect(registrations).toMatchObject([{ url: appUrl, functions: [{ id: 'app-first' }] }]);
	await close();
});

it('registers there again at each start, and when server code has changed', async () => {
	const { url, registrations, close } = await external();
	vi.stubEnv('INNGEST_BASE_URL', url);
	const ids = (): string[] =>
		registrations.flatMap(({ functions }) => functions.map(({ id }) => id));
	await start();
	await vi.waitFor(() => expect(ids()).toEqual(['app-first']), 30_000);
	await writeApp('second');
	await vi.waitFor(() => expect(ids()).toEqual(['app-first', 'app-second']), 30_000);
	expect(outcomes()).toHaveLength(1);
	await server!.close();
	vi.stubEnv('INNGEST_BASE_URL', url);
	await start();
	await vi.waitFor(() => expect(ids()).toHaveLength(3), 30_000);
	expect(ids()[2]).toBe('app-second');
	await close();
});

it('says once why the app did not register, and that it then did', async () => {
	const { url, answer, close } = await external(0, 400);
	vi.stubEnv('INNGEST_BASE_URL', url);
	await start();
	await vi.waitFor(() => expect(outcomes()).toHaveLength(1), 30_000);
	expect(warn.mock.calls).toEqual([[expect.stringContaining('broken cron')]]);
	answer.status = 200;
	await writeApp('second');
	await vi.waitFor(() => expect(outcomes()).toHaveLength(2), 30_000);
	expect(info.mock.lastCall).toEqual([expect.stringContaining('[inngest dev] Registered the app')]);
	await close();
});

it('says in one line that nothing is served at its path', async () => {
	const { url, close } = await external();
	vi.stubEnv('INNGEST_BASE_URL', url);
	await start({ servePath: '/elsewhere' });
	await vi.waitFor(() => expect(outcomes()).toHaveLength(1), 30_000);
	expect(outcomes()[0]).toMatch(/\/elsewhere did not register\..*servePath/);
	await close();
});

it('registers by the name with which a dev server in a container calls the app', async () => {
	const { url, registrations, answer, close } = await external();
	vi.stubEnv('INNGEST_BASE_URL', url);
	const { server: taken, port } = await listen(() => {});
	await new Promise((resolve) => taken.close(resolve));
	answer.urls = [
		'http://host.docker.internal:1/api/inngest',
		`http://host.docker.internal:${port}/api/inngest`
	];
	server = await createServer(config({}));
	await server.listen(port);
	await vi.waitFor(() => expect(registrations).toHaveLength(1), 30_000);
	expect(registrations[0]!.url).toBe(`http://host.docker.internal:${port}/api/inngest`);
	await close();
});

it.each(['/api/inngest', '/base/api/inngest'])(
	'finds an app below a base path (servePath %s)',
	async (servePath) => {
		const vite = await start({ servePath }, '/base');
		const { port } = vite.httpServer!.address() as AddressInfo;
		await vi.waitFor(() => expect(outcomes()).toHaveLength(1), 30_000);
		expect(outcomes()).toEqual([
			`[inngest dev] Registered the app at http://localhost:${port}/base/api/inngest`
		]);
		expect(await registered()).toEqual(['app-first']);
	}
);

it('reads .env files, and starts an engine where nothing answers at the URL they name', async () => {
	const closed = await startInngestDev();
	await closed.close();
	await writeFile(join(root, '.env'), `INNGEST_BASE_URL=${closed.url}\nINNGEST_EVENT_KEY=key`);
	await start();
	expect(process.env.INNGEST_EVENT_KEY).toBe('key');
	expect(process.env.INNGEST_BASE_URL).not.toBe(closed.url);
	expect(lines()).toEqual([expect.stringContaining(`nothing answers at ${closed.url}`)]);
});

it('takes the next free port where something else has its own', async () => {
	const other = await listen((_request, response) => response.end('something else'));
	await start({ port: other.port });
	expect(Number(new URL(process.env.INNGEST_BASE_URL!).port)).toBeGreaterThan(other.port);
	expect(lines()[0]).toContain(process.env.INNGEST_BASE_URL);
	other.server.close();
});

it('leaves an embedded engine of another process alone', async () => {
	const other = await startInngestDev();
	await start({ port: other.port });
	expect(process.env.INNGEST_BASE_URL).not.toBe(other.url);
	await other.close();
});

it('starts nothing where INNGEST_DEV asks for the cloud', async () => {
	vi.stubEnv('INNGEST_DEV', '0');
	await start();
	expect(process.env.INNGEST_BASE_URL).toBeUndefined();
	expect(lines()).toEqual([expect.stringContaining('Inngest Cloud')]);
});

it('lets a dev server in a container call the app', async () => {
	await start();
	expect(server!.config.server.allowedHosts).toContain('host.docker.internal');
});

it('is no part of builds, of previews, and of tests unless asked', async () => {
	const names = async (
		options: InngestDevPluginOptions,
		...rest: [command: 'build' | 'serve', preview: boolean]
	): Promise<string[]> => {
		const [command, isPreview] = rest;
		const inline = { configFile: false as const, plugins: [inngestDev(options)] };
		const resolved = await resolveConfig(inline, command, undefined, undefined, isPreview);
		return resolved.plugins.map(({ name }) => name);
	};
	const asked = { underVitest: true };
	expect(await names(asked, 'serve', false)).toContain('sveltekit-inngest');
	expect(await names(asked, 'build', false)).not.toContain('sveltekit-inngest');
	expect(await names(asked, 'serve', true)).not.toContain('sveltekit-inngest');
	expect(await names({}, 'serve', false)).not.toContain('sveltekit-inngest');
});
