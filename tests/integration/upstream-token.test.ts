import { Inngest } from 'inngest';
import { getEventListeners } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { TokenClient } from '../../src/lib/server/inngest/token.js';
import { clientAt, Endpoint, ScriptedServer, story, until } from '../support/upstream.js';

let server: ScriptedServer;
beforeEach(async () => {
	server = await ScriptedServer.start();
});
afterEach(async () => {
	vi.useRealTimers();
	vi.restoreAllMocks();
	vi.unstubAllEnvs();
	await server.close();
});

const topics = [{ channel: 'a', name: 't' }];
const { signal } = new AbortController();
const request = (client: Parameters<typeof clientAt>[1] = {}, url = server.url): Promise<unknown> =>
	new TokenClient(clientAt(url, client)).request(topics, signal);

/** A URL where nobody listens. */
async function deadUrl(): Promise<string> {
	const listener = createServer();
	await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
	const { port } = listener.address() as AddressInfo;
	await new Promise((resolve) => listener.close(resolve));
	return `http://127.0.0.1:${port}`;
}

test('a refused token, a failing server and a silent network are told apart', async () => {
	server.onToken = () => 401;
	await expect(request({ hashedKey: 'key' })).rejects.toThrow(
		/refused a realtime token: check INNGEST_SIGNING_KEY and the environment \(401 .*scripted 401/
	);
	server.onToken = () => 403;
	await expect(request()).rejects.toThrow(/refused.*403/);
	server.onToken = () => 500;
	await expect(request()).rejects.toThrow(/failed to give a realtime token \(500/);
	await expect(request({}, await deadUrl())).rejects.toThrow(/No answer from .*ECONNREFUSED/);
	await expect(request({ fetch: async () => new Response('<html>') })).rejects.toThrow(
		/without a token; is it an Inngest server/
	);
});

test('a refusal names INNGEST_DEV where neither that nor a signing key is set', async () => {
	vi.stubEnv('INNGEST_DEV', undefined);
	server.onToken = () => 401;
	await expect(request({ hashedKey: '' })).rejects.toThrow(
		/refused a realtime token: neither INNGEST_DEV nor INNGEST_SIGNING_KEY is set \(401 .*\)\. In development, add inngestDev\(\)/
	);
	vi.stubEnv('INNGEST_DEV', '1');
	await expect(request({ hashedKey: '' })).rejects.toThrow(/check INNGEST_SIGNING_KEY/);
	vi.stubEnv('INNGEST_DEV', undefined);
	await expect(request({ hashedKey: 'key' })).rejects.toThrow(/check INNGEST_SIGNING_KEY/);
});

test('no answer of the cloud names INNGEST_DEV too, and no answer of a server of one’s own does not', async () => {
	vi.stubEnv('INNGEST_DEV', undefined);
	const dead = { fetch: async () => Promise.reject(new TypeError('fetch failed')) };
	await expect(request(dead, 'https://api.inngest.com')).rejects.toThrow(
		/No answer from https:\/\/api\.inngest\.com .*neither INNGEST_DEV nor INNGEST_SIGNING_KEY is set/
	);
	await expect(request(dead)).rejects.toThrow(
		/is Inngest running there\? In development, add inngestDev\(\) to vite\.config\.ts/
	);
});

test('an address that is not valid is named', async () => {
	const getTargetUrl = async (path: string): Promise<URL> => new URL(path, 'not an address');
	await expect(request({ getTargetUrl })).rejects.toMatchObject({
		code: 'TOKEN',
		message: expect.stringMatching(/no valid address: Invalid URL.*INNGEST_BASE_URL/)
	});
});

test('without `onFailure` a failure is one line that says what to do', async () => {
	const log = vi.spyOn(console, 'error').mockImplementation(() => {});
	const url = await deadUrl();
	const endpoint = await Endpoint.start(clientAt(url), { onFailure: undefined });
	const stream = await endpoint.open({ channel: 'demo' });
	await stream.end();
	expect(log.mock.calls).toEqual([
		[
			expect.stringMatching(
				/^\[sveltekit-inngest\] stream failed on "demo": .* No answer from http:.*ECONNREFUSED.*inngestDev\(\) to vite\.config\.ts.*$/
			)
		]
	]);
	await endpoint.close();
});

test('keys and URL are read at each request: plain fields as in inngest 3, filled late', async () => {
	const api = {
		apiBaseUrl: 'http://127.0.0.1:1',
		hashedKey: '',
		hashedFallbackKey: undefined as string | undefined,
		fetch: vi.fn(fetch),
		async getTargetUrl(path: string): Promise<URL> {
			return new URL(path, this.apiBaseUrl);
		}
	};
	const client = new TokenClient({ id: 'test', env: 'branch/one', inngestApi: api } as never);
	api.apiBaseUrl = server.url;
	await client.request(topics, signal);
	api.hashedKey = 'first';
	api.hashedFallbackKey = 'second';
	server.onToken = ({ headers }) => (headers.authorization === 'Bearer second' ? 201 : 401);
	await client.request(topics, signal);
	expect(server.tokens.map(({ headers }) => headers.authorization)).toEqual([
		undefined,
		'Bearer first',
		'Bearer second'
	]);
	expect(server.tokens[0]).toMatchObject({
		topics: [{ channel: 'a', name: 't', kind: 'run' }],
		headers: { 'x-inngest-env': 'branch/one', 'content-type': 'application/json' }
	});
	expect(api.fetch).toHaveBeenCalledTimes(3);
});

test('keys and URL are read at each request: getters as in inngest 4', async () => {
	let key = '';
	const request = vi.fn(fetch);
	class Api {
		readonly _fetch = (): typeof fetch => request;
		get hashedKey(): string {
			return key;
		}
		get hashedFallbackKey(): undefined {
			return undefined;
		}
		async getTargetUrl(path: string): Promise<URL> {
			return new URL(path, server.url);
		}
	}
	const client = new TokenClient({ id: 'test', env: null, inngestApi: new Api() } as never);
	await client.request(topics, signal);
	key = 'late';
	await client.request(topics, signal);
	expect(server.tokens.map(({ headers }) => headers.authorization)).toEqual([
		undefined,
		'Bearer late'
	]);
	expect(server.tokens[0]?.headers).not.toHaveProperty('x-inngest-env');
	expect(request).toHaveBeenCalledTimes(2);
});

test('a client of the installed SDK sends its hashed key, then the fallback', async () => {
	server.onToken = () => 401;
	const inngest = new Inngest({ id: 'test', baseUrl: server.url, env: 'staging' });
	const client = new TokenClient(inngest);
	// `serve()` fills the keys in late.
	const api = inngest['inngestApi' as never] as {
		setSigningKey(key: string): void;
		setSigningKeyFallback(key: string): void;
	};
	api.setSigningKey(`signkey-test-${'ab'.repeat(16)}`);
	api.setSigningKeyFallback(`signkey-test-${'cd'.repeat(16)}`);
	await expect(client.request(topics, signal)).rejects.toThrow('401');
	const [first, second] = server.tokens.map(({ headers }) => headers.authorization);
	expect(first).toMatch(/^Bearer signkey-test-[0-9a-f]{64}$/);
	expect(second).toMatch(/^Bearer signkey-test-[0-9a-f]{64}$/);
	expect(second).not.toBe(first);
	expect(server.tokens[0]?.headers['x-inngest-env']).toBe('staging');
});

test('an answer that does not come within 10 s is a failure, whatever `fetch` does with its signal', async () => {
	vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
	const pending = request({ fetch: () => new Promise<Response>(() => {}) });
	const outcome = expect(pending).rejects.toThrow(/No answer.*none within 10 s/);
	await vi.advanceTimersByTimeAsync(10_000);
	await outcome;
});

test('a request leaves no timer and no listener behind, and ends with its signal', async () => {
	vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
	const abort = new AbortController();
	const client = new TokenClient(
		clientAt(server.url, { fetch: async () => Response.json({ jwt: 'a.b.c' }) })
	);
	await client.request(topics, abort.signal);
	const silent = new TokenClient(clientAt(server.url, { fetch: () => new Promise(() => {}) }));
	const pending = silent.request(topics, abort.signal);
	expect(vi.getTimerCount()).toBe(1);
	abort.abort(new Error('the socket ended'));
	await expect(pending).rejects.toThrow('the socket ended');
	await expect(silent.request(topics, abort.signal)).rejects.toThrow('the socket ended');
	expect(vi.getTimerCount()).toBe(0);
	expect(getEventListeners(abort.signal, 'abort')).toEqual([]);
});

test('before a first connection a failure ends the stream, not for good, and is explained to the server', async () => {
	const endpoint = await Endpoint.start(clientAt(server.url));
	server.onToken = () => 500;
	const stream = await endpoint.open({ channel: 'demo' });
	await stream.end();
	const last = stream.frames.at(-1)!;
	expect(story(stream)).toEqual(['connecting', 'degraded']);
	expect(last.data).toMatchObject({ ok: false, stage: 'stream', code: 503 });
	expect(last.data).not.toHaveProperty('fatal');
	expect(last.data).toHaveProperty('detail', expect.not.stringContaining('500'));
	expect(endpoint.causes).toEqual([expect.stringMatching(/failed to give.*500/)]);
	expect(endpoint.realtime.stats()).toMatchObject({ streams: 0, hub: { feeds: 0 } });
	server.onToken = () => 201;
	const again = await endpoint.open({ channel: 'demo' });
	await again.connected();
	await endpoint.close();
});

test('after a loss failing tokens keep the stream open; each reason is told once', async () => {
	vi.spyOn(Math, 'random').mockReturnValue(0);
	const endpoint = await Endpoint.start(clientAt(server.url));
	const stream = await endpoint.open({ channel: 'demo' });
	await stream.connected();
	const statuses = [500, 500, 401, 401];
	server.onToken = () => statuses.shift() ?? 201;
	server.last.drop();
	await stream.when(() => story(stream).length === 5, 'the upstream to be back');
	expect(story(stream)).toEqual([
		'connecting',
		'connected',
		'connecting',
		'resync upstream-gap',
		'connected'
	]);
	expect(stream.frames[2]?.data).toMatchObject({ ok: false, detail: expect.any(String) });
	expect(endpoint.causes).toEqual([
		expect.stringContaining('code 1006'),
		expect.stringContaining('500'),
		expect.stringContaining('401')
	]);
	await endpoint.close();
});

test('many first readers of one channel cause one subscription', async () => {
	const endpoint = await Endpoint.start(clientAt(server.url));
	const streams = await Promise.all(
		Array.from({ length: 50 }, () => endpoint.open({ channel: 'demo' }))
	);
	await Promise.all(streams.map((stream) => stream.connected()));
	expect(server.tokens).toHaveLength(1);
	expect(server.sockets).toHaveLength(1);
	expect(server.last.frames).toEqual([]);
	server.publish('demo', 'message', { message: 'hello' });
	await Promise.all(streams.map((stream) => stream.when(() => stream.messages.length === 1)));
	await until(() => endpoint.realtime.stats().hub.messages === 1, 'one message');
	await endpoint.close();
});
