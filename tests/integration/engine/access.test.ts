import { once } from 'node:events';
import { request } from 'node:http';
import { afterEach, beforeEach, expect, it } from 'vitest';
import WebSocket from 'ws';
import { startInngestDev } from '../../../src/lib/dev/index.js';
import type { InngestDev } from '../../../src/lib/dev/index.js';
import { fetchToken, topicOf } from './support/engine.js';

let dev: InngestDev;
beforeEach(async () => {
	dev = await startInngestDev({ allowedHosts: ['host.docker.internal'] });
});
afterEach(() => dev.close());

interface Answer {
	status: number | undefined;
	allowed: string | undefined;
	text: string;
}

/** Sends what `fetch` does not: any `Host`, any `Origin`. */
function send(method: string, path: string, headers: Record<string, string>): Promise<Answer> {
	return new Promise((resolve, reject) => {
		const sent = request(dev.url + path, { method, headers }, (response) => {
			let text = '';
			response.on('data', (part: Buffer) => (text += part.toString()));
			response.on('end', () => {
				const allowed = response.headers['access-control-allow-origin'];
				resolve({ status: response.statusCode, allowed, text });
			});
		});
		sent.on('error', reject);
		sent.end(method === 'POST' ? '{"name":"a"}' : undefined);
	});
}

const ENTRIES = [
	['POST', '/e/key'],
	['GET', '/dev'],
	['POST', '/v1/realtime/token'],
	['POST', '/fn/register'],
	['OPTIONS', '/e/key']
] as const;

it.each([
	'https://evil.example',
	'http://localhost.evil.example',
	'http://127.evil.example',
	'null',
	'file://'
])('refuses pages of %s, and does not let them read the answer', async (origin) => {
	for (const [method, path] of ENTRIES) {
		const answer = await send(method, path, { origin });
		expect(answer, `${method} ${path}`).toMatchObject({ status: 403, allowed: undefined });
		expect(answer.text).toContain('allowedHosts');
	}
	expect(dev.runs).toEqual([]);
});

it.each(['evil.example', 'evil.example:8288', '10.0.0.7', 'localhost.evil.example'])(
	'refuses requests for the host "%s"',
	async (host) => {
		for (const [method, path] of ENTRIES) {
			expect((await send(method, path, { host })).status, `${method} ${path}`).toBe(403);
		}
	}
);

it.each([
	'http://localhost:5173',
	'https://127.0.0.1',
	'http://[::1]:3000',
	'http://app.localhost',
	'http://host.docker.internal'
])('takes requests of pages of %s', async (origin) => {
	expect(await send('POST', '/e/key', { origin })).toMatchObject({ status: 200, allowed: origin });
	expect(await send('OPTIONS', '/e/key', { origin })).toMatchObject({
		status: 200,
		allowed: origin
	});
});

it.each(['localhost', 'LOCALHOST:8288', '127.0.0.2:1', '[::1]:8288', 'host.docker.internal:8288'])(
	'takes requests for the host "%s"',
	async (host) => {
		expect((await send('POST', '/e/key', { host })).status).toBe(200);
	}
);

it('opens sockets and event streams for the same hosts and pages only', async () => {
	const jwt = await fetchToken(dev, [topicOf('channel', 'a')]);
	const url = `${dev.url.replace('http', 'ws')}/v1/realtime/connect?token=${jwt}`;
	for (const headers of [{ origin: 'https://evil.example' }, { host: 'evil.example' }]) {
		const socket = new WebSocket(url, { headers });
		const [error] = (await once(socket, 'error')) as [Error];
		expect(error.message).toContain('403');
	}
	const socket = new WebSocket(url, { headers: { origin: 'http://localhost:5173' } });
	await once(socket, 'open');
	socket.terminate();

	const path = `/v1/realtime/sse?token=${jwt}`;
	expect(await send('GET', path, { origin: 'https://evil.example' })).toMatchObject({
		status: 403
	});
	const response = await fetch(dev.url + path, { headers: { origin: 'http://localhost:5173' } });
	expect(response.headers.get('access-control-allow-origin')).toBe('http://localhost:5173');
	await response.body?.cancel();
});

it('takes the name that it is told to listen on', async () => {
	const named = await startInngestDev({ host: 'localhost' });
	expect((await fetch(`${named.url}/health`)).status).toBe(200);
	await named.close();
});
