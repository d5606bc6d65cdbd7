import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { defineEvent } from '../../src/lib/protocol/event.js';
import { createRealtime, type Realtime } from '../../src/lib/server/index.js';
import { demoChannel } from '../support/channels.js';
import { RawClient } from '../support/raw.js';
import { serve, type TestServer } from '../support/server.js';
import { clientAt } from '../support/upstream.js';
import { eventually } from '../support/wait.js';

const MiB = 1024 * 1024;
const run = vi.fn(() => null);
/** How bodies of each kind begin. */
const kinds = {
	event: '{"event":"any","id":"a","data":"',
	read: '{"read":{"channel":"demo","since":"',
	presence: '{"presence":{"channel":"demo","member":"',
	answer: '{"answer":{"id":"a","data":"',
	subscription: '{"channel":"',
	subscriptions: '{"subscriptions":[{"channel":"'
};

let realtime: Realtime;
/** By what limits a body before the endpoint reads it: nothing, or what the Node adapter does. */
const servers: Record<string, TestServer> = {};
const clients: RawClient[] = [];

beforeAll(async () => {
	realtime = createRealtime({
		inngest: clientAt('http://127.0.0.1:9'),
		channels: { demo: { channel: demoChannel, authorize: () => true, source: false } },
		events: {
			any: { event: defineEvent('any', { schema: z.unknown() }), authorize: () => true, run }
		},
		onFailure: () => {}
	});
	servers.open = await serve(realtime);
	servers.adapter = await serve(realtime, { bodySizeLimit: 512 * 1024 });
});
afterEach(() => {
	for (const client of clients.splice(0)) client.leave();
	vi.useRealTimers();
	expect(run).not.toHaveBeenCalled();
});
afterAll(async () => {
	realtime.close();
	await Promise.all(Object.values(servers).map((server) => server.close()));
});

async function open(server: string, headers: string): Promise<RawClient> {
	const client = await RawClient.open(servers[server]!.url);
	clients.push(client);
	client.socket.write(
		`POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${headers}\r\n\r\n`
	);
	return client;
}

/** Writes a part of a body, and waits until the network has taken it. */
async function write(client: RawClient, text: string, isChunk: boolean): Promise<void> {
	const bytes = isChunk ? `${text.length.toString(16)}\r\n${text}\r\n` : text;
	await new Promise((resolve) => client.socket.write(bytes, resolve));
}

/** Sends a whole body before it reads a byte of the answer, as many clients do. */
async function answerTo(
	server: string,
	body: string,
	{ isChunked }: { isChunked: boolean }
): Promise<string> {
	const client = await open(
		server,
		isChunked ? 'transfer-encoding: chunked' : `content-length: ${body.length}`
	);
	client.stall();
	for (let sent = 0; sent < body.length && client.socket.writable; sent += 65_536) {
		await write(client, body.slice(sent, sent + 65_536), isChunked);
	}
	if (isChunked) client.socket.write('0\r\n\r\n');
	client.resume();
	await eventually(() => client.closed || client.text.includes('}'));
	return client.text;
}

const expect413 = (answer: string): void => {
	expect(answer).toMatch(/^HTTP\/1\.1 413 /);
	expect(answer).toContain('at most 65536 bytes');
};

describe.each(['open', 'adapter'])('%s', (server) => {
	test.each([true, false])('10 MB hear 413 each time; in chunks: %s', async (isChunked) => {
		const bodies = [...Object.values(kinds), 'x', '{"nothing":"'].map((start) =>
			start.padEnd(10 * MiB, 'x')
		);
		for (let round = 0; round < 2; round++) {
			const answers = await Promise.all(
				bodies.map((body) => answerTo(server, body, { isChunked }))
			);
			answers.forEach(expect413);
		}
	});
});

test.each(['transfer-encoding: chunked', `content-length: ${1e12}`])(
	'an endless body hears 413, and its line is cut (%s)',
	async (headers) => {
		const client = await open('open', headers);
		const part = 'x'.repeat(65_536);
		let sent = 0;
		const isChunk = headers.startsWith('transfer');
		const writing = (async () => {
			for (; client.socket.writable; sent += part.length) await write(client, part, isChunk);
		})();
		await eventually(() => client.closed);
		await writing;
		expect413(client.text);
		expect(sent).toBeLessThan(64 * MiB);
	}
);

test.each([
	['small', 'x', 408],
	['large', 'x'.repeat(200_000), 413]
])('a %s body that does not end holds its request no longer than 30 s', async (_, body, status) => {
	vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
	const client = await open('open', 'transfer-encoding: chunked');
	const read = vi.fn();
	servers.open!.server.once('request', (request) => request.on('data', read));
	await write(client, body, true);
	await vi.waitFor(() => expect(read).toHaveBeenCalled());
	for (let second = 0; second < 29; second++) {
		await vi.advanceTimersByTimeAsync(1_000);
		await write(client, 'x', true);
	}
	expect(client.text).toBe('');
	await vi.advanceTimersByTimeAsync(2_000);
	vi.useRealTimers();
	await eventually(() => client.text.includes('}'));
	expect(client.text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
});
