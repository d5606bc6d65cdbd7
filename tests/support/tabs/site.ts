import { svelte } from '@sveltejs/vite-plugin-svelte';
import { Inngest } from 'inngest';
import type { AddressInfo, Socket } from 'node:net';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { getRequest, setResponse } from '@sveltejs/kit/node';
import type { RequestEvent } from '@sveltejs/kit';
import { build, type Rolldown } from 'vite';
import { createRealtime, type Realtime } from '../../../src/lib/server/index.js';
import { TestSource } from '../../../src/lib/testing/source.js';
import { extra, locked, numbers } from './channels.js';
import type { TabSettings } from './tab.js';

const HERE = import.meta.dirname;

/** Adds what the page's code is made of, by the path under which it is served. */
async function bundle(): Promise<Map<string, string>> {
	const paths = '\0paths';
	const result = (await build({
		configFile: false,
		logLevel: 'error',
		root: HERE,
		plugins: [
			svelte({ configFile: false }),
			{
				name: 'paths',
				resolveId: (id) => (id === '$app/paths' ? paths : null),
				load: (id) =>
					id === paths ? 'export const base = ""; export const resolve = (path) => path;' : null
			}
		],
		build: {
			write: false,
			minify: false,
			rollupOptions: { input: join(HERE, 'tab.ts'), output: { entryFileNames: 'tab.js' } }
		}
	})) as Rolldown.RolldownOutput;
	return new Map(
		result.output.map((file) => [
			`/${file.fileName}`,
			'code' in file ? file.code : String(file.source)
		])
	);
}

const HTML =
	'<!doctype html><meta charset="utf-8"><title>Tab</title><link rel="icon" href="data:,"><body><script type="module" src="/tab.js"></script>';

/** A server with an endpoint and a page that reads it, over HTTP/1.1. Ended by `close`. */
export class Site {
	readonly source = new TestSource();
	readonly realtime: Realtime;
	/** Requests of streams so far. */
	requests = 0;
	/** Whether everybody may read the channel `locked`. */
	isOpen = false;
	/** How many numbers were published. */
	sent = 0;
	readonly #server: Server;
	readonly #sockets = new Set<Socket>();
	#timer: NodeJS.Timeout | undefined;

	private constructor(files: Map<string, string>) {
		const { source } = this;
		this.realtime = createRealtime({
			inngest: new Inngest({ id: 'tabs', isDev: true }),
			identify: () => ({ id: 'alice' }),
			healthCheck: { intervalMs: 2_000 },
			channels: {
				numbers: {
					channel: numbers,
					source,
					authorize: () => true,
					presence: { member: () => ({ id: 'alice', data: { name: 'Alice' } }) }
				},
				locked: { channel: locked, source, authorize: () => this.isOpen },
				extra: {
					channel: extra,
					source,
					authorize: () => true,
					channelParams: (_event: unknown, channelId: string) => channelId.split(':')[1] ?? ''
				}
			}
		});
		this.#server = createServer((req, res) => {
			const { pathname } = new URL(req.url ?? '/', 'http://localhost');
			const code = files.get(pathname);
			if (pathname.startsWith('/api/')) {
				void this.#answer(req, res).catch(() => res.destroy());
			} else {
				res.setHeader('content-type', code ? 'text/javascript' : 'text/html');
				res.end(code ?? (pathname === '/ping' ? 'pong' : HTML));
			}
		});
		this.#server.on('connection', (socket) => {
			this.#sockets.add(socket);
			socket.on('close', () => this.#sockets.delete(socket));
		});
	}

	static async open(): Promise<Site> {
		const site = new Site(await bundle());
		await new Promise<void>((resolve) => site.#server.listen(0, 'localhost', resolve));
		return site;
	}

	get origin(): string {
		return `http://localhost:${(this.#server.address() as AddressInfo).port}`;
	}

	/** Open streams. */
	get streams(): number {
		return this.realtime.stats().streams;
	}

	/** Address of a page with these settings. */
	url(settings: TabSettings = { shareTabs: true }): string {
		return `${this.origin}/#${encodeURIComponent(JSON.stringify(settings))}`;
	}

	/** Publishes the next number. */
	publish(): void {
		this.source.deliver('numbers', 'number', ++this.sent);
	}

	/** Publishes numbers until `stop` is called. */
	start(perSecond: number): void {
		this.#timer = setInterval(() => this.publish(), 1_000 / perSecond);
	}

	stop(): void {
		clearInterval(this.#timer);
	}

	/** Cuts all connections, like a network that fails for a moment. */
	cut(): void {
		for (const socket of this.#sockets) socket.destroy();
	}

	async close(): Promise<void> {
		this.stop();
		this.realtime.close();
		const closed = new Promise((resolve) => this.#server.close(resolve));
		this.cut();
		await closed;
	}

	async #answer(req: import('node:http').IncomingMessage, res: import('node:http').ServerResponse) {
		const request = await getRequest({ request: req, base: this.origin });
		const event = {
			request,
			url: new URL(request.url),
			locals: {},
			platform: { req },
			route: { id: '/api/events' },
			params: {},
			getClientAddress: () => req.socket.remoteAddress ?? ''
		} as unknown as RequestEvent;
		if (request.headers.get('accept')?.includes('event-stream')) this.requests++;
		await setResponse(res, await this.realtime.POST(event as never));
	}
}
