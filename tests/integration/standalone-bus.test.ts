import { build } from 'esbuild';
import { execFile } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, expect, test } from 'vitest';
import { createRealtimeBus, RealtimeEventError } from '../../src/lib/client/standalone.js';
import { createTestRealtime, type TestRealtime } from '../../src/lib/testing/index.js';
import { demoChannel, userChannel } from '../support/channels.js';
import { say } from '../support/events.js';
import { serve, type TestServer } from '../support/server.js';
import { eventually } from '../support/wait.js';

const closing: (() => unknown)[] = [];
afterEach(async () => {
	for (const close of closing.splice(0).reverse()) await close();
});

async function start(): Promise<{ realtime: TestRealtime; server: TestServer; tokens: unknown[] }> {
	const tokens: unknown[] = [];
	const realtime = createTestRealtime({
		channels: {
			demo: { channel: demoChannel, authorize: ({ params }) => params.deny !== true },
			user: { channel: userChannel, channelParams: () => 'alice', authorize: () => true }
		},
		events: {
			say: {
				event: say,
				authorize: ({ event }) => {
					tokens.push(event.request.headers.get('authorization'));
					return true;
				},
				async run({ emit }, { message }) {
					await emit(demoChannel().message, { message });
					return { said: message };
				}
			}
		},
		onFailure() {}
	});
	const server = await serve(realtime, {
		around: (event, next) => {
			tokens.push(event.request.headers.get('authorization'));
			return next();
		}
	});
	closing.push(
		() => realtime.close(),
		() => server.close()
	);
	return { realtime, server, tokens };
}

function connect(options: Parameters<typeof createRealtimeBus>[0]) {
	const bus = createRealtimeBus(options);
	closing.push(() => bus.close());
	return bus;
}

test('in Node: messages of several channels over one stream, in order, across cut lines', async () => {
	const { realtime, server } = await start();
	const bus = connect({ endpoint: server.url, reconnect: { minDelayMs: 10 } });
	const seen: string[] = [];
	const cursors = new Set<string>();
	const stop = bus.subscribe(demoChannel, { topics: ['message'] }, ({ topic, data, cursor }) => {
		seen.push(`${topic satisfies 'message'} ${data.message}`);
		cursors.add(cursor);
	});
	bus.subscribe(userChannel, { channelParams: 'alice' }, ({ data }) =>
		seen.push(`alice ${data.message}`)
	);
	await eventually(() => bus.status.current.status === 'connected');
	await eventually(() => realtime.stats().streams === 1);
	const expected: string[] = [];
	for (let n = 0; n < 30; n++) {
		await realtime.emit(demoChannel().message, { message: `${n}` });
		await realtime.emit(demoChannel()['admin-message'], { message: 'not asked for' });
		expected.push(`message ${n}`);
		if (n % 10 === 5) server.server.closeAllConnections();
	}
	await realtime.emit(userChannel('alice').message, { message: 'hello' });
	await eventually(() => seen.length === 31);
	expect(seen.filter((text) => text.startsWith('message'))).toEqual(expected);
	expect(seen).toContain('alice hello');
	expect(cursors.size).toBe(30);
	stop();
	await realtime.emit(demoChannel().message, { message: 'too late' });
	await realtime.emit(userChannel('alice').message, { message: 'again' });
	await eventually(() => seen.length === 32);
	expect(seen.at(-1)).toBe('alice again');
	bus.close();
	await eventually(() => realtime.stats().streams === 0);
});

test('events are sent with the headers of the app, which are asked for each time', async () => {
	const { server, tokens } = await start();
	let n = 0;
	const bus = connect({
		endpoint: server.url,
		headers: async () => ({ authorization: `Bearer ${++n}` })
	});
	const { result, status, emitted } = await bus.send(say, { message: ' hello ' }, { id: 'one' });
	expect([result.said, status, emitted.length]).toEqual(['hello', 'done', 1]);
	expect((await bus.send(say, { message: ' hello ' }, { id: 'one' })).emitted).toEqual(emitted);
	await expect(bus.send(say, { message: '' })).rejects.toMatchObject({
		code: 'EVENT_INVALID',
		fields: { message: [expect.any(String)] }
	});
	await expect(bus.send(say, { message: '' })).rejects.toBeInstanceOf(RealtimeEventError);
	expect(new Set(tokens).size).toBe(4);
});

test('a denied channel and a handler that throws are told to `onFailure`, a gap to `onResync`', async () => {
	const { realtime, server } = await start();
	const failures: unknown[] = [];
	const resyncs: string[] = [];
	const bus = connect({
		endpoint: server.url,
		onFailure: ({ source, status, message }) => failures.push([source, status, message]),
		onResync: ({ reason }) => resyncs.push(reason)
	});
	const stop = bus.subscribe(demoChannel, { params: { deny: true } }, () => {});
	await eventually(() => failures.length === 1);
	expect(failures[0]).toEqual(['request', 403, 'Not allowed to read this realtime channel.']);
	stop();
	const seen: string[] = [];
	bus.subscribe(demoChannel, { since: 'other-1' }, ({ data: { message } }) => {
		seen.push(message);
		if (message === 'bad') throw new Error('of the app');
	});
	await eventually(() => resyncs.length === 1);
	expect(resyncs).toEqual(['restart']);
	for (const message of ['bad', 'good']) await realtime.emit(demoChannel().message, { message });
	await eventually(() => seen.length === 2);
	expect(failures.at(-1)).toEqual(['handler', undefined, expect.stringContaining('demo')]);
	expect(() => bus.subscribe(demoChannel, { topics: ['message'] }, () => {})).toThrow(
		expect.objectContaining({ code: 'DUPLICATE_CHANNEL' })
	);
});

test('an endpoint that nobody could find is refused, and so is a bus that was closed', async () => {
	for (const endpoint of ['/api/events', 'api', '', undefined as never]) {
		expect(() => createRealtimeBus({ endpoint })).toThrow(
			expect.objectContaining({
				code: 'INVALID_OPTION',
				message: expect.stringContaining('endpoint')
			})
		);
	}
	const { realtime } = await start();
	// What replaces `fetch` knows what a path means.
	const bus = connect({ endpoint: '/api/events', fetch: realtime.fetch });
	expect((await bus.send(say, { message: 'hi' })).result.said).toBe('hi');
	bus.close();
	await expect(bus.send(say, { message: 'hi' })).rejects.toMatchObject({ code: 'CLOSED' });
	expect(() => bus.subscribe(demoChannel, {}, () => {})).toThrow(
		expect.objectContaining({ code: 'CLOSED' })
	);
});

const SCRIPT = `
import { createRealtimeBus, defineEvent } from './bus.mjs';
import { z } from 'zod';
import { channel, topic } from '@inngest/realtime';
const demoChannel = channel('demo').addTopic(topic('message').schema(z.object({ message: z.string() })));
const say = defineEvent('demo/say', { schema: z.object({ message: z.string() }), channel: 'demo' });
const bus = createRealtimeBus({ endpoint: process.env.ENDPOINT, onFailure: console.error });
const seen = [];
bus.subscribe(demoChannel, { topics: ['message'] }, ({ data, clientEventId }) => {
	seen.push([data.message, clientEventId]);
	if (seen.length === 3) {
		console.log(JSON.stringify(seen));
		bus.close();
	}
});
while (bus.status.current.status !== 'connected') await new Promise((resolve) => setTimeout(resolve, 20));
for (const message of ['a', 'b', 'c']) await bus.send(say, { message }, { id: 'id-' + message });
`;

test('the entry for scripts runs in plain Node, and the process ends after `close()`', async () => {
	const { server } = await start();
	const root = fileURLToPath(new URL('../..', import.meta.url));
	const folder = `${root}node_modules/.cache/test-bus-${process.pid}`;
	await mkdir(folder, { recursive: true });
	closing.push(() => rm(folder, { recursive: true, force: true }));
	await build({
		entryPoints: [`${root}src/lib/client/standalone.ts`],
		outfile: `${folder}/bus.mjs`,
		bundle: true,
		format: 'esm',
		platform: 'node',
		target: 'node20',
		packages: 'external',
		logLevel: 'silent'
	});
	await writeFile(`${folder}/script.mjs`, SCRIPT);
	const { stdout, stderr } = await promisify(execFile)(process.execPath, [`${folder}/script.mjs`], {
		env: { ...process.env, ENDPOINT: server.url, NODE_ENV: 'production' },
		timeout: 20_000
	});
	expect(stderr).toBe('');
	expect(JSON.parse(stdout)).toEqual([
		['a', 'id-a'],
		['b', 'id-b'],
		['c', 'id-c']
	]);
});
