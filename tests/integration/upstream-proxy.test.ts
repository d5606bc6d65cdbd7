import { Agent, createServer, type Server } from 'node:http';
import { connect, createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import type { RealtimeSource } from '../../src/lib/server/hub/source.js';
import type { RealtimeUpstreamOptions } from '../../src/lib/server/inngest/options.js';
import { openSocket } from '../../src/lib/server/inngest/socket.js';
import {
	clientAt,
	Endpoint,
	Recorder,
	ScriptedServer,
	sourceAt,
	until
} from '../support/upstream.js';

const DISPATCHER = Symbol.for('undici.globalDispatcher.1');
const globals = globalThis as unknown as Record<symbol, object | undefined>;

/** A proxy that knows `CONNECT` only. */
class Proxy {
	/** Where tunnels were asked for, and by whom. */
	readonly tunnels: { to: string; authorization: string | undefined }[] = [];
	/** Tunnels that are open now. */
	readonly open = new Set<Socket>();
	/** Status that tunnels are refused with. */
	refusal: number | undefined;
	readonly #server: Server = createServer();

	static async start(): Promise<Proxy> {
		const proxy = new Proxy();
		await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
		return proxy;
	}

	private constructor() {
		this.#server.on('connect', ({ url = '', headers }, client: Socket, head: Buffer) => {
			this.tunnels.push({ to: url, authorization: headers['proxy-authorization'] });
			client.on('error', () => client.destroy());
			if (this.refusal) return void client.end(`HTTP/1.1 ${this.refusal} Refused\r\n\r\n`);
			const { hostname, port } = new URL(`tunnel://${url}`);
			const target = connect(Number(port), hostname === 'inngest.test' ? '127.0.0.1' : hostname);
			target.on('connect', () => {
				client.write('HTTP/1.1 200 Connection established\r\n\r\n');
				target.write(head);
				target.pipe(client).pipe(target);
			});
			target.on('error', () => client.destroy());
			client.on('close', () => (this.open.delete(client), target.destroy()));
			this.open.add(client);
		});
	}

	get url(): string {
		return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
	}

	async close(): Promise<void> {
		for (const socket of this.open) socket.destroy();
		await new Promise((resolve) => this.#server.close(resolve));
	}
}

let server: ScriptedServer;
let proxy: Proxy;
let source: RealtimeSource | undefined;
// Node makes its dispatcher with the first request.
await fetch('http://127.0.0.1:1').catch(() => {});
const dispatcher = globals[DISPATCHER];
beforeEach(async () => {
	server = await ScriptedServer.start();
	proxy = await Proxy.start();
	for (const name of ['http_proxy', 'https_proxy', 'no_proxy', 'HTTPS_PROXY', 'NO_PROXY']) {
		vi.stubEnv(name, undefined);
	}
	vi.stubEnv('HTTP_PROXY', proxy.url);
});
afterEach(async () => {
	source?.close();
	source = undefined;
	vi.unstubAllEnvs();
	vi.restoreAllMocks();
	globals[DISPATCHER] = dispatcher;
	await proxy.close();
	await server.close();
});

/** Makes `fetch` follow the environment's proxy, as `NODE_USE_ENV_PROXY` does where Node knows it. */
function followEnvironment(): void {
	class EnvHttpProxyAgent {
		dispatch(...args: unknown[]): unknown {
			return (dispatcher as { dispatch(...args: unknown[]): unknown }).dispatch(...args);
		}
	}
	globals[DISPATCHER] = new EnvHttpProxyAgent();
}

async function listen(upstream: RealtimeUpstreamOptions = {}): Promise<Recorder> {
	source = sourceAt(server.url, { upstream });
	const listener = new Recorder('a');
	source.listen(listener);
	await until(() => listener.events.length > 0, 'an answer');
	return listener;
}

async function expectMessage(listener: Recorder): Promise<void> {
	expect(listener.events).toEqual(['live']);
	server.publish('a', 't', 1);
	await until(() => listener.data().length === 1, 'a message');
}

test('where `fetch` follows the proxy of the environment, the socket does too', async () => {
	followEnvironment();
	await expectMessage(await listen());
	expect(proxy.tunnels).toEqual([{ to: new URL(server.url).host, authorization: undefined }]);
});

test('a proxy gets its user and password', async () => {
	followEnvironment();
	vi.stubEnv('HTTP_PROXY', proxy.url.replace('//', '//user:p%40ss@'));
	await expectMessage(await listen());
	expect(proxy.tunnels[0]?.authorization).toBe(
		`Basic ${Buffer.from('user:p@ss').toString('base64')}`
	);
});

test('where `fetch` goes directly, the socket does too', async () => {
	await expectMessage(await listen());
	expect(proxy.tunnels).toEqual([]);
});

test.each(['*', '127.0.0.1', 'example.com, 127.0.0.1', '.0.0.1', '*.0.0.1', '127.0.0.1:PORT'])(
	'NO_PROXY "%s" exempts the server',
	async (noProxy) => {
		followEnvironment();
		vi.stubEnv('NO_PROXY', noProxy.replace('PORT', new URL(server.url).port));
		await expectMessage(await listen());
		expect(proxy.tunnels).toEqual([]);
	}
);

test.each(['', 'example.com', '0.0.1', '127.0.0.1:1'])(
	'NO_PROXY "%s" does not exempt the server',
	async (noProxy) => {
		followEnvironment();
		vi.stubEnv('NO_PROXY', noProxy);
		await expectMessage(await listen());
		expect(proxy.tunnels).toHaveLength(1);
	}
);

test('a proxy that refuses is named', async () => {
	followEnvironment();
	proxy.refusal = 407;
	const listener = await listen();
	expect(listener.errors[0]?.message).toBe(
		`Cannot connect to Inngest realtime at ${server.url.replace('http', 'ws')}: the proxy ${new URL(proxy.url).host} answered 407.`
	);
});

test('a proxy that is not there is named', async () => {
	followEnvironment();
	vi.stubEnv('HTTP_PROXY', 'http://127.0.0.1:1');
	const listener = await listen();
	expect(listener.errors[0]?.message).toMatch(
		/the proxy 127\.0\.0\.1:1 cannot be used: .*ECONNREFUSED/
	);
});

test('a listener that leaves while the tunnel is dug leaves no connection', async () => {
	followEnvironment();
	source = sourceAt(server.url);
	server.onUpgrade = () => false;
	const stop = source.listen(new Recorder('a'));
	await until(() => proxy.open.size === 1 && server.connections === 1, 'a tunnel');
	stop();
	await until(() => proxy.open.size === 0, 'its end');
});

test('for `wss:` TLS is spoken through the tunnel, with the name of the server', async () => {
	followEnvironment();
	vi.stubEnv('HTTPS_PROXY', proxy.url);
	let hello = Buffer.alloc(0);
	// It hangs up after the first words, which are plain text.
	const secure = createTcpServer((socket) =>
		socket.on('data', (data) => {
			hello = Buffer.concat([hello, data]);
			socket.end();
		})
	);
	await new Promise<void>((resolve) => secure.listen(0, '127.0.0.1', resolve));
	const { port } = secure.address() as AddressInfo;
	const events = { message() {}, ping() {}, binary() {}, close() {} };
	const { signal } = new AbortController();
	await expect(openSocket(`wss://inngest.test:${port}/`, events, { signal })).rejects.toThrow(
		/Cannot connect to Inngest realtime at wss:\/\/inngest\.test/
	);
	expect(proxy.tunnels.map(({ to }) => to)).toEqual([`inngest.test:${port}`]);
	// A handshake begins like this.
	expect(hello[0]).toBe(22);
	expect(hello.includes('inngest.test')).toBe(true);
	await new Promise((resolve) => secure.close(resolve));
});

test('`upstream.agent` opens the connection, and the environment is left alone', async () => {
	followEnvironment();
	let connections = 0;
	class CountingAgent extends Agent {
		override createConnection(...args: unknown[]): Socket {
			connections++;
			return (
				Agent.prototype as unknown as { createConnection(...args: unknown[]): Socket }
			).createConnection.apply(this, args);
		}
	}
	await expectMessage(await listen({ agent: new CountingAgent() }));
	expect(connections).toBe(1);
	expect(proxy.tunnels).toEqual([]);
});

test('`upstream.WebSocket` is the class of the socket', async () => {
	const urls: string[] = [];
	class Mine extends WebSocket {
		constructor(url: string, options?: object) {
			super(url, options);
			urls.push(url);
		}
	}
	const endpoint = await Endpoint.start(clientAt(server.url), { upstream: { WebSocket: Mine } });
	const stream = await endpoint.open({ channel: 'demo' });
	await stream.connected();
	expect(urls).toHaveLength(1);
	expect(urls[0]).toMatch(/^ws:.*\/v1\/realtime\/connect\?token=/);
	await endpoint.close();
});

test('a class without pings is believed after a while', async () => {
	class Plain {
		readonly #socket: WebSocket;
		constructor(url: string) {
			this.#socket = new WebSocket(url);
		}
		addEventListener(type: never, listener: never): void {
			this.#socket.addEventListener(type, listener);
		}
		send(data: string): void {
			this.#socket.send(data);
		}
		close(): void {
			this.#socket.close();
		}
	}
	await expectMessage(await listen({ WebSocket: Plain }));
	expect(server.last.heldPings).toEqual([]);
});

test('endpoints of one client that open its socket differently are refused', async () => {
	const client = clientAt(server.url);
	const agent = new Agent();
	const endpoint = await Endpoint.start(client, { upstream: { agent } });
	const same = await Endpoint.start(client, { upstream: { agent } });
	await expect(Endpoint.start(client, { upstream: { agent: new Agent() } })).rejects.toMatchObject({
		code: 'INVALID_OPTION',
		message: expect.stringContaining('`upstream`')
	});
	await expect(Endpoint.start(client)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
	await same.close();
	await endpoint.close();
});

test.each([
	['agent', { agent: 'http://127.0.0.1:3128' }],
	['WebSocket', { WebSocket: {} }]
])('an `upstream.%s` that cannot work is refused', async (name, upstream) => {
	await expect(
		Endpoint.start(clientAt(server.url), { upstream: upstream as never })
	).rejects.toMatchObject({
		code: 'INVALID_OPTION',
		message: expect.stringContaining(`\`upstream.${name}\``)
	});
});
