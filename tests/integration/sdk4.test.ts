import { Inngest } from 'inngest4';
import { serve as serveFunctions } from 'inngest4/node';
import { realtime as sdk } from 'inngest4/realtime';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import { startInngestDev, type InngestDev } from '../../src/lib/dev/index.js';
import { createRealtime, type Realtime } from '../../src/lib/server/index.js';
import { serve, type TestServer } from '../support/server.js';
import { openStream, type SseReader } from '../support/sse.js';

const news = sdk.channel({
	name: 'news',
	topics: {
		story: { schema: z.object({ title: z.string(), at: z.coerce.date() }) },
		length: { schema: z.string().transform((text) => text.length) },
		tokens: { schema: z.string() }
	}
});
const chat = sdk.channel({
	name: (room: string) => `chat:${room}`,
	topics: { message: { schema: z.object({ text: z.string() }) } }
});
const pipeline = sdk.channel({
	name: ({ runId, step }: { runId: string; step: number }) => `pipeline:${runId}:${step}`,
	topics: { status: { schema: z.object({ done: z.boolean() }) } }
});
const seat = sdk.channel({
	name: (hall: string, row: number) => `seat:${hall}:${row}`,
	topics: { taken: { schema: z.boolean() } }
});

const AT = '2026-01-02T03:04:05.000Z';
const silent = { info() {}, warn() {}, error() {}, debug() {} };
const authorize = (): boolean => true;

let engine: InngestDev;
let inngest: Inngest;
let realtime: Realtime;
let server: TestServer;
let readers: SseReader[];
let app: Server | undefined;

beforeEach(async () => {
	engine = await startInngestDev();
	inngest = new Inngest({ id: 'sdk4', baseUrl: engine.url, isDev: true, logger: silent });
	realtime = createRealtime({
		inngest,
		channels: {
			news: { channel: news, authorize },
			chat: {
				channel: chat,
				channelParams: (_event, id) => id.slice('chat:'.length),
				authorize
			},
			pipeline: {
				channel: pipeline,
				channelParams: (_event, id) => {
					const [, runId = '', step] = id.split(':');
					return { runId, step: Number(step) };
				},
				authorize
			},
			seat: { channel: seat, channelParams: ['main', 7], authorize }
		}
	});
	server = await serve(realtime);
	readers = [];
});

afterEach(async () => {
	for (const reader of readers) reader.close();
	realtime.close();
	await server.close();
	app?.close();
	app?.closeAllConnections();
	app = undefined;
	await engine.close();
});

async function open(...channels: string[]): Promise<SseReader> {
	const reader = await openStream(server.url, {
		subscriptions: channels.map((channel) => ({ channel }))
	});
	readers.push(reader);
	for (const channel of channels) await reader.connected(channel);
	return reader;
}

/** Serves functions and registers them with the engine. */
async function run(...functions: Parameters<typeof serveFunctions>[0]['functions']): Promise<void> {
	app = createServer(serveFunctions({ client: inngest, functions }));
	await new Promise<void>((resolve) => app!.listen(0, '127.0.0.1', resolve));
	const { port } = app.address() as AddressInfo;
	expect(await engine.register(`http://127.0.0.1:${port}/api/inngest`)).toBe(true);
}

test('what a function publishes arrives as the output of its schema', async () => {
	const stream = await open('news', 'chat:lobby');
	await run(
		inngest.createFunction(
			{ id: 'report', triggers: { event: 'app/report' } },
			async ({ runId }) => {
				await inngest.realtime.publish(news.story, { title: runId, at: AT });
				await inngest.realtime.publish(chat('lobby').message, { text: 'read the news' });
			}
		)
	);
	await inngest.send({ name: 'app/report' });
	await stream.when(() => stream.messages.length === 2);
	const [started] = engine.runs;
	expect(stream.messages).toMatchObject([
		{ channel: 'news', topic: 'story', kind: 'data', data: { title: started?.id, at: AT } },
		{ channel: 'chat:lobby', topic: 'message', data: { text: 'read the news' } }
	]);
	expect(stream.messages[0]?.runId).toBe(started?.id);
});

test('what a step publishes arrives once, however often the function is run again', async () => {
	const stream = await open('news');
	await run(
		inngest.createFunction({ id: 'steps', triggers: { event: 'app/steps' } }, async ({ step }) => {
			await step.realtime.publish('first', news.length, 'four');
			await step.run('between', () => 'done');
			await step.realtime.publish('second', news.length, 'seconds');
			await inngest.realtime.publish(news.story, { title: 'end', at: AT });
		})
	);
	await inngest.send({ name: 'app/steps' });
	await stream.when(() => stream.messages.some(({ topic }) => topic === 'story'));
	expect(stream.messages.map(({ data }) => data)).toEqual([4, 7, { title: 'end', at: AT }]);
});

test('names are made of one value, an object or several arguments', async () => {
	const stream = await open('chat:a:b', 'pipeline:r1:2', 'seat:main:7');
	await realtime.publish(chat('a:b').message, { text: 'one' });
	await realtime.publish(pipeline({ runId: 'r1', step: 2 }).status, { done: true });
	await realtime.publish(seat('main', 7).taken, false);
	await stream.when(() => stream.messages.length === 3);
	expect(stream.messages.map(({ channel, data }) => [channel, data])).toEqual([
		['chat:a:b', { text: 'one' }],
		['pipeline:r1:2', { done: true }],
		['seat:main:7', false]
	]);
});

test('the endpoint publishes only what matches the schema', async () => {
	const stream = await open('news');
	await expect(realtime.publish(news.length, 4 as never)).rejects.toMatchObject({
		code: 'INVALID_MESSAGE'
	});
	await realtime.publish(news.length, '12345');
	await stream.when(() => stream.messages.length === 1);
	expect(stream.messages[0]?.data).toBe(5);
});

test('a stream that a function publishes arrives in pieces', async () => {
	const stream = await open('news');
	await run(
		inngest.createFunction({ id: 'answer', triggers: { event: 'app/answer' } }, async () => {
			const tokens = new Blob(['Hello, ', 'world']).stream();
			await inngest.realtime.publish({ ...news.tokens, config: undefined as never }, tokens);
		})
	);
	await inngest.send({ name: 'app/answer' });
	await stream.when(() => stream.messages.some(({ kind }) => kind === 'datastream-end'));
	const kinds = stream.messages.map(({ kind }) => kind);
	expect(kinds[0]).toBe('datastream-start');
	expect(
		stream.messages
			.filter(({ kind }) => kind === 'chunk')
			.map(({ data }) => data)
			.join('')
	).toBe('Hello, world');
});

test('a consumer in this process reads a channel made of an object', async () => {
	const items = realtime.subscribe(pipeline, {
		channelParams: { runId: 'r2', step: 1 },
		topics: ['status']
	});
	const first = items.next();
	await expect.poll(() => realtime.stats().hub.sources.inngest!.state).toBe('open');
	await realtime.publish(pipeline({ runId: 'r2', step: 1 }).status, { done: false });
	expect((await first).value).toMatchObject({ topic: 'status', data: { done: false } });
	await items.return();
});
