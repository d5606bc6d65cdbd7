import WebSocket from 'ws';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
	decodeToken,
	fetchToken,
	forgeToken,
	openEngine,
	publish,
	topicOf,
	unique
} from './support/engine.js';
import type { TestEngine } from './support/engine.js';
import { TestSocket } from './support/socket.js';

const ENV = '00000000-0000-4000-b000-000000000000';

let engine: TestEngine;
beforeAll(async () => {
	engine = await openEngine();
});
afterAll(() => engine.close());

/** The status of a refused upgrade. */
function refusal(url: string): Promise<number> {
	return new Promise((resolve, reject) => {
		const socket = new WebSocket(url);
		socket.on('unexpected-response', (request, response) => {
			resolve(response.statusCode ?? 0);
			request.destroy();
		});
		socket.on('open', () => reject(new Error('connected')));
		socket.on('error', () => {});
	});
}

const connectUrl = (token: string): string =>
	`${engine.url.replace('http', 'ws')}/v1/realtime/connect?token=${token}`;

describe('tokens', () => {
	it('cover topics of several channels for one minute', async () => {
		const topics = [topicOf('a', 'x'), topicOf('b', 'y')];
		const claims = decodeToken(await fetchToken(engine, topics));
		expect(claims).toMatchObject({
			iss: 'rt.inngest.com',
			env: ENV,
			topics: topics.map((topic) => ({ ...topic, env_id: ENV })),
			publish: false
		});
		expect((claims.exp as number) - (claims.iat as number)).toBe(60);
	});

	it('are refused for a body that is no list of topics', async () => {
		for (const body of ['{}', 'nonsense', '[1]', '[{"channel":1}]']) {
			const response = await fetch(`${engine.url}/v1/realtime/token`, { method: 'POST', body });
			expect(response.status, body).toBe(400);
			expect(await response.json()).toMatchObject({ status: 400 });
		}
	});

	it('that are missing, broken, foreign or expired do not connect', async () => {
		const now = Math.floor(Date.now() / 1000);
		const claims = {
			iss: 'rt.inngest.com',
			sub: ENV,
			iat: now,
			exp: now + 60,
			env: ENV,
			topics: []
		};
		const valid = await fetchToken(engine, [topicOf('a', 'x')]);
		const tokens = [
			'',
			'x.y.z',
			valid.slice(0, -3) + (valid.endsWith('AAA') ? 'BBB' : 'AAA'),
			forgeToken({ ...claims, exp: now - 1, iat: now - 61 }),
			forgeToken({ ...claims, iss: 'someone' }),
			forgeToken({ ...claims, iat: now + 30 }),
			forgeToken({ ...claims, exp: undefined })
		];
		for (const token of tokens) expect(await refusal(connectUrl(token)), token).toBe(401);
	});
});

describe('a subscription', () => {
	it('gets messages of its topics alone, each with its envelope', async () => {
		const channel = unique('channel');
		const socket = await TestSocket.open(engine, channel, ['a', 'b']);
		const runId = '01ARZ3NDEKTSV4RRFFQ69G5FAV';
		await publish(engine, { channel, topic: 'other' }, '1');
		await publish(engine, { channel: unique('channel'), topic: 'a' }, '2');
		await publish(engine, { channel, topic: 'a', run_id: runId }, '{"n":3}');
		await publish(engine, { channel, topic: 'b', run_id: 'none' }, '4');
		const [first, second] = await socket.received(2);
		expect(first).toEqual({
			kind: 'data',
			data: { n: 3 },
			created_at: expect.stringMatching(
				/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/
			) as string,
			channel,
			env_id: ENV,
			topic: 'a',
			run_id: runId
		});
		expect(second).toMatchObject({ topic: 'b', data: 4 });
		expect(second).not.toHaveProperty('run_id');
		await socket.close();
	});

	it('takes topics and gives them back while it is open', async () => {
		const channel = unique('channel');
		const socket = await TestSocket.open(engine, channel, ['a']);
		socket.send({ kind: 'sub', data: await fetchToken(engine, [topicOf(channel, 'b')]) });
		socket.send({ kind: 'unsub', data: [{ ...topicOf(channel, 'a'), env_id: ENV }] });
		await socket.barrier();
		await publish(engine, { channel, topic: 'a' }, '1');
		await publish(engine, { channel, topic: 'b' }, '2');
		expect(await socket.received(1)).toMatchObject([{ topic: 'b', data: 2 }]);
		await socket.close();
	});

	it('is live as soon as a ping sent behind its frame is answered', async () => {
		const channel = unique('channel');
		const socket = await TestSocket.open(engine, unique('channel'), ['a']);
		const topics = Array.from({ length: 50 }, (_, n) => topicOf(channel, `t${n}`));
		socket.send({ kind: 'sub', data: await fetchToken(engine, topics) });
		await socket.barrier();
		for (let n = 0; n < 50; n++) await publish(engine, { channel, topic: `t${n}` }, String(n));
		expect(await socket.received(50)).toHaveLength(50);
		await socket.close();
	});

	it('gets a message once, however often it asks for the topic', async () => {
		const channel = unique('channel');
		const socket = await TestSocket.open(engine, channel, ['a', 'a']);
		socket.send({ kind: 'sub', data: await fetchToken(engine, [topicOf(channel, 'a')]) });
		await socket.barrier();
		await publish(engine, { channel, topic: 'a' }, '1');
		await publish(engine, { channel, topic: 'a' }, '2');
		expect((await socket.received(2)).map(({ data }) => data)).toEqual([1, 2]);
		await socket.close();
	});

	it('outlives frames that mean nothing, and ignores a give-back without an environment', async () => {
		const channel = unique('channel');
		const socket = await TestSocket.open(engine, channel, ['a']);
		socket.send('nonsense');
		socket.send('null');
		socket.send({ kind: 'sub', data: 'x.y.z' });
		socket.send({ kind: 'sub', data: { a: 1 } });
		socket.send({ kind: 'unsub', data: 5 });
		socket.send({ kind: 'unsub', data: [topicOf(channel, 'a')] });
		socket.socket.send(Buffer.from([1, 2, 3]));
		await socket.barrier();
		await publish(engine, { channel, topic: 'a' }, '1');
		expect(await socket.received(1)).toMatchObject([{ data: 1 }]);
		await socket.close();
	});

	it('is closed with 1009 by a frame of more than 32,768 bytes', async () => {
		const socket = await TestSocket.open(engine, unique('channel'), ['a']);
		socket.send('x'.repeat(32_768));
		await socket.barrier();
		socket.send('x'.repeat(32_769));
		expect(await socket.closed).toMatchObject({ code: 1009 });
	});

	it('is pinged at once', async () => {
		const socket = await TestSocket.open(engine, unique('channel'), ['a']);
		await socket.pinged();
		await socket.close();
	});
});

describe('what is published', () => {
	it('arrives as the JSON it was, in fewer bytes, with HTML escaped', async () => {
		const channel = unique('channel');
		const socket = await TestSocket.open(engine, channel, ['a']);
		await publish(engine, { channel, topic: 'a' }, '{ "n" : 1.0,\n "t": "<a & b>  x" , "n":1e3 }');
		await socket.received(1);
		expect(socket.frames[0]).toContain(
			'"data":{"n":1.0,"t":"\\u003ca \\u0026 b\\u003e  x","n":1e3},'
		);
		await socket.close();
	});

	it('is a string where it is no JSON', async () => {
		const channel = unique('channel');
		const socket = await TestSocket.open(engine, channel, ['a']);
		for (const body of ['hello "you"', '', '{"a":']) {
			expect((await publish(engine, { channel, topic: 'a' }, body)).status).toBe(200);
		}
		const messages = await socket.received(3);
		expect(messages.map(({ data }) => data)).toEqual(['hello "you"', '', '{"a":']);
		await socket.close();
	});

	it('is cut after 512 KiB', async () => {
		const channel = unique('channel');
		const socket = await TestSocket.open(engine, channel, ['a']);
		await publish(engine, { channel, topic: 'a' }, JSON.stringify('x'.repeat(600_000)));
		const [message] = await socket.received(1);
		expect(message!.data).toBe('"' + 'x'.repeat(512 * 1024 - 1));
		await socket.close();
	});

	it('keeps its order within a topic', async () => {
		const channel = unique('channel');
		const socket = await TestSocket.open(engine, channel, ['a']);
		for (let n = 0; n < 100; n++) await publish(engine, { channel, topic: 'a' }, String(n));
		const messages = await socket.received(100);
		expect(messages.map(({ data }) => data)).toEqual(Array.from({ length: 100 }, (_, n) => n));
		await socket.close();
	});

	it('needs more than a token for subscribing', async () => {
		const channel = unique('channel');
		const jwt = await fetchToken(engine, [topicOf(channel, 'a')]);
		const response = await publish(engine, { channel, topic: 'a', token: jwt }, '1');
		expect(response.status).toBe(401);
	});
});

describe('a data stream', () => {
	async function open(): Promise<{ channel: string; socket: TestSocket }> {
		const channel = unique('channel');
		return { channel, socket: await TestSocket.open(engine, channel, ['a']) };
	}

	it('starts, carries pieces that name only the stream, and ends', async () => {
		const { channel, socket } = await open();
		await publish(engine, { channel, topic: 'a' }, 'hello', 'text/stream');
		const [start, chunk, end] = await socket.received(3);
		const id = start!.data;
		expect(id).toMatch(/^[0-9a-z]+$/);
		expect(start).toMatchObject({ kind: 'datastream-start', channel, topic: 'a', env_id: ENV });
		expect(chunk).toEqual({ kind: 'chunk', stream_id: id, data: 'hello' });
		expect(end).toEqual({ ...start, kind: 'datastream-end' });
		await socket.close();
	});

	it('is cut at 1,024 bytes, and a character that is cut through is lost byte by byte', async () => {
		const { channel, socket } = await open();
		const text = 'x'.repeat(1_023) + '😀' + 'y';
		// Sent in one write behind the headers, so that the first read sees all of it.
		const body = new ReadableStream({
			start(controller) {
				controller.enqueue(new TextEncoder().encode(text));
				controller.close();
			}
		});
		await publish(engine, { channel, topic: 'a' }, body, 'text/stream');
		const messages = await socket.received(4);
		expect(messages.map(({ kind }) => kind)).toEqual([
			'datastream-start',
			'chunk',
			'chunk',
			'datastream-end'
		]);
		expect(messages[1]!.data).toBe('x'.repeat(1_023) + '\uFFFD');
		expect(messages[2]!.data).toBe('\uFFFD\uFFFD\uFFFDy');
		await socket.close();
	});

	it('keeps the pieces of a sender apart in time', async () => {
		const { channel, socket } = await open();
		const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
		const writer = writable.getWriter();
		const done = publish(engine, { channel, topic: 'a' }, readable, 'text/stream');
		for (const [n, text] of ['one', 'two', 'three'].entries()) {
			await writer.write(new TextEncoder().encode(text));
			await socket.received(n + 2);
		}
		await writer.close();
		await done;
		const messages = await socket.received(5);
		expect(messages.slice(1, 4).map(({ data }) => data)).toEqual(['one', 'two', 'three']);
		await socket.close();
	});

	it('ends after 1,000 pieces', async () => {
		const { channel, socket } = await open();
		const response = await publish(
			engine,
			{ channel, topic: 'a' },
			'x'.repeat(1_100 * 1_024),
			'text/stream'
		);
		expect(response.status).toBe(200);
		const messages = await socket.received(1_002);
		expect(messages[1_000]!.kind).toBe('chunk');
		expect(messages[1_001]!.kind).toBe('datastream-end');
		await socket.barrier();
		expect(socket.frames).toHaveLength(1_002);
		await socket.close();
	});
});

describe('server-sent events', () => {
	it('carry the same messages', async () => {
		const channel = unique('channel');
		const jwt = await fetchToken(engine, [topicOf(channel, 'a')]);
		const abort = new AbortController();
		const response = await fetch(`${engine.url}/v1/realtime/sse?token=${jwt}`, {
			signal: abort.signal
		});
		expect(response.headers.get('content-type')).toContain('text/event-stream');
		const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
		await publish(engine, { channel, topic: 'a' }, '{"n":1}');
		let text = '';
		while (!text.includes('}\n\n')) text += (await reader.read()).value;
		const message = JSON.parse(text.slice(text.indexOf('data: ') + 6)) as unknown;
		expect(message).toMatchObject({ kind: 'data', channel, topic: 'a', data: { n: 1 } });
		abort.abort();
	});

	it('need a token', async () => {
		expect((await fetch(`${engine.url}/v1/realtime/sse`)).status).toBe(401);
	});
});
