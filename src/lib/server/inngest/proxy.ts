/**
 * The environment's proxy for sockets, as `fetch` uses it. Node's modules are loaded without a static import,
 * so that this file bundles for runtimes that lack them.
 */
import type { ClientRequestArgs } from 'node:http';
import type { Duplex } from 'node:stream';

/** Where Node's `fetch` finds its dispatcher. */
const DISPATCHERS = ['undici.globalDispatcher.1', 'undici.globalDispatcher.2'];

type CreateConnection = NonNullable<ClientRequestArgs['createConnection']>;

/** The proxy that the environment names for a URL, if `fetch` would use it, too. */
export function environmentProxy(url: URL): URL | undefined {
	if (!fetchFollowsEnvironment()) return undefined;
	const { env } = process;
	const httpProxy = env.http_proxy ?? env.HTTP_PROXY;
	const isSecure = url.protocol === 'wss:';
	const proxy = (isSecure && (env.https_proxy ?? env.HTTPS_PROXY)) || httpProxy;
	if (!proxy || isExempt(url, env.no_proxy ?? env.NO_PROXY ?? '')) return undefined;
	return new URL(proxy);
}

/** Node installs this dispatcher for `NODE_USE_ENV_PROXY` and `--use-env-proxy`; an app may do the same. */
function fetchFollowsEnvironment(): boolean {
	const globals = globalThis as unknown as Record<symbol, object | undefined>;
	return DISPATCHERS.some(
		(name) => globals[Symbol.for(name)]?.constructor.name === 'EnvHttpProxyAgent'
	);
}

/** Whether `NO_PROXY` names a host: `host`, `.domain` or `*.domain`, each with or without a port, or `*`. */
function isExempt(url: URL, noProxy: string): boolean {
	const host = url.hostname.toLowerCase();
	return noProxy
		.toLowerCase()
		.split(/[,\s]+/)
		.some((entry) => {
			if (entry === '*') return true;
			const [, name = entry, port] = /^(.+):(\d+)$/.exec(entry) ?? [];
			if (name === '' || (port !== undefined && port !== portOf(url))) return false;
			return /^[.*]/.test(name) ? host.endsWith(name.replace(/^\*/, '')) : host === name;
		});
}

function portOf({ port, protocol }: URL): string {
	return port || (protocol === 'wss:' || protocol === 'https:' ? '443' : '80');
}

/**
 * Opens connections through a proxy, by `CONNECT`.
 *
 * @param proxy `http:` or `https:`; its user and password are sent along.
 * @param target URL of the socket; for `wss:`, TLS goes through the tunnel.
 */
export function tunnel(
	proxy: URL,
	target: URL,
	{ signal, timeoutMs }: { signal: AbortSignal; timeoutMs: number }
): CreateConnection {
	const http = process.getBuiltinModule(proxy.protocol === 'https:' ? 'node:https' : 'node:http');
	const tls = process.getBuiltinModule('node:tls');
	const address = `${target.hostname}:${portOf(target)}`;
	return (_options, connected) => {
		const fail = (why: string): void =>
			connected(new Error(`the proxy ${proxy.host} ${why}`), undefined as unknown as Duplex);
		const request = http.request({
			method: 'CONNECT',
			host: bare(proxy.hostname),
			port: portOf(proxy),
			path: address,
			headers: { host: address, ...authorization(proxy) },
			agent: false,
			timeout: timeoutMs,
			signal
		});
		request.on('timeout', () => request.destroy(new Error('no answer')));
		request.on('error', ({ message }) => fail(`cannot be used: ${message}`));
		request.on('response', (response) => {
			response.resume();
			fail(`answered ${response.statusCode}`);
		});
		request.on('connect', ({ statusCode }, socket, head) => {
			if (statusCode !== 200) {
				socket.destroy();
				return fail(`answered ${statusCode}`);
			}
			if (head.length > 0) socket.unshift(head);
			socket.setTimeout(0);
			if (target.protocol === 'ws:') return connected(null, socket);
			const host = bare(target.hostname);
			const isAddress = process.getBuiltinModule('node:net').isIP(host) !== 0;
			connected(null, tls.connect({ socket, servername: isAddress ? '' : host }));
		});
		request.end();
		return undefined;
	};
}

/** An IPv6 address without its brackets. */
function bare(hostname: string): string {
	return hostname.replace(/^\[|\]$/g, '');
}

function authorization({ username, password }: URL): Record<string, string> {
	if (!username && !password) return {};
	const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
	return { 'proxy-authorization': `Basic ${Buffer.from(credentials).toString('base64')}` };
}
