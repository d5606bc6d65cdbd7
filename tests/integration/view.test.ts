import { channel, topic } from '@inngest/realtime';
import { error } from '@sveltejs/kit';
import { AsyncLocalStorage } from 'node:async_hooks';
import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import {
	createRealtime,
	RealtimeDenied,
	type Realtime,
	type RealtimeServerFailureContext,
	type RealtimeViewContext
} from '../../src/lib/server/index.js';
import type { RealtimeTopicMessage } from '../../src/lib/protocol/types.js';
import { serve, type TestServer } from '../support/server.js';
import { openStream, type SseReader } from '../support/sse.js';
import { clientAt } from '../support/upstream.js';

const rowsChannel = channel('rows')
	.addTopic(topic('row').schema(z.object({ team: z.string(), message: z.string() })))
	.addTopic(topic('progress').schema(z.object({ team: z.string(), message: z.string() })));

type Context = RealtimeViewContext<RealtimeTopicMessage<typeof rowsChannel>>;
type View = (context: Context) => unknown;

const storage = new AsyncLocalStorage<string>();
const failures: RealtimeServerFailureContext[] = [];
const closing: (() => unknown)[] = [];
afterEach(async () => {
	failures.length = 0;
	for (const close of closing.splice(0).reverse()) await close();
});

let realtime: Realtime;
let server: TestServer;

/** Each team sees its own rows. */
const own: View = ({ locals, message }) =>
	message.data.team === (locals as { team?: string }).team ? message : null;

async function start(view: View, options: object = {}, config: object = {}): Promise<void> {
	realtime = createRealtime({
		inngest: clientAt('http://127.0.0.1:9'),
		channels: {
			rows: {
				channel: rowsChannel,
				authorize: () => true,
				source: false,
				view: view as (context: Context) => RealtimeTopicMessage<typeof rowsChannel> | null,
				...config
			}
		},
		onFailure: (failure) => void failures.push(failure),
		healthCheck: { intervalMs: 50 },
		...options
	});
	server = await serve(realtime, {
		locals: (request) => ({ team: request.headers.get('x-team') }),
		around: (event, next) => storage.run((event.locals as { team?: string }).team!, next)
	});
	closing.push(
		() => realtime.close(),
		() => server.close()
	);
}

async function read(team: string, body: object = {}): Promise<SseReader> {
	const reader = await openStream(server.url, { channel: 'rows', ...body }, { 'x-team': team });
	closing.push(() => reader.close());
	return reader;
}

async function open(team: string, body: object = {}): Promise<SseReader> {
	const reader = await read(team, body);
	await reader.connected();
	return reader;
}

async function emit(
	team: string,
	message: string,
	on: 'row' | 'progress' = 'row'
): Promise<string> {
	return (await realtime.emit(rowsChannel()[on], { team, message })).cursor;
}

async function ask(team: string, body: object): Promise<{ status: number; body: never }> {
	const response = await fetch(server.url, {
		method: 'POST',
		headers: { 'content-type': 'application/json', 'x-team': team },
		body: JSON.stringify({ read: { channel: 'rows', ...body } })
	});
	return { status: response.status, body: (await response.json()) as never };
}

const textsOf = ({ messages }: { messages: { data: { message: string } }[] }): string[] =>
	messages.map(({ data }) => data.message);

test('each reader gets what its view shows: live, replayed, as history, and when it reads', async () => {
	await start(own);
	const [red, blue] = [await open('red'), await open('blue')];
	const first = await emit('red', 'r1');
	await emit('blue', 'b1');
	await emit('red', 'r2');
	await emit('blue', 'b2');
	await red.when(() => red.texts.length === 2);
	await blue.when(() => blue.texts.length === 2);
	expect(red.texts).toEqual(['r1', 'r2']);
	expect(blue.texts).toEqual(['b1', 'b2']);

	const replayed = await open('blue', { lastEventId: first });
	expect(replayed.texts).toEqual(['b1', 'b2']);
	const history = await open('red', { history: 4 });
	expect(history.texts).toEqual(['r1', 'r2']);
	expect(history.messages.every((message) => message.history)).toBe(true);

	expect(textsOf((await ask('blue', {})).body)).toEqual(['b1', 'b2']);
	expect(textsOf((await ask('blue', { limit: 1 })).body)).toEqual(['b2']);
	expect(textsOf((await ask('blue', { since: first, limit: 1 })).body)).toEqual(['b1']);
});

test('the position moves on over what is skipped', async () => {
	await start(own);
	const red = await open('red');
	const cursor = await emit('blue', 'hidden');
	await red.until(({ event, data }) => event === 'health' && data.cursor === cursor);
	expect(red.texts).toEqual([]);
	expect(red.lastId).toBe(cursor);
});

test('a view may change a message, for its reader alone', async () => {
	await start(({ locals, message }) => {
		// In place, as an app may do it without a thought for others.
		if ((locals as { team?: string }).team === 'red') message.data.message = 'secret';
		return { ...message, topic: 'other', channel: 'other', clientEventId: 'mine' };
	});
	const [red, blue] = [await open('red'), await open('blue')];
	const cursor = await emit('blue', 'plain');
	await red.when(() => red.texts.length === 1);
	await blue.when(() => blue.texts.length === 1);
	expect(red.texts).toEqual(['secret']);
	expect(blue.texts).toEqual(['plain']);
	expect(blue.messages[0]).toMatchObject({ topic: 'row', channel: 'rows', clientEventId: 'mine' });
	expect(red.frames.find(({ event }) => event === 'message')!.id).toBe(cursor);
	expect(textsOf(await realtime.history(rowsChannel))).toEqual(['plain']);
});

test('one that takes its time keeps the order, and runs in the context of its reader', async () => {
	const contexts = new Set<string | undefined>();
	await start(async (context) => {
		contexts.add(storage.getStore());
		await new Promise((resolve) => setTimeout(resolve, 10 * Math.random()));
		contexts.add(storage.getStore());
		return own(context);
	});
	const red = await open('red', { params: { a: 1 } });
	for (let n = 0; n < 20; n++) await emit(n % 2 ? 'red' : 'blue', `${n}`);
	await red.when(() => red.texts.length === 10);
	expect(red.texts).toEqual(['1', '3', '5', '7', '9', '11', '13', '15', '17', '19']);
	expect([...contexts]).toEqual(['red']);
});

test('it is given the params of the subscription and the request', async () => {
	const seen: Context[] = [];
	await start((context) => {
		seen.push(context);
		return context.message;
	});
	const red = await open('red', { params: { project: 7 } });
	await emit('red', 'a');
	await red.when(() => red.texts.length === 1);
	expect(seen[0]!.params).toEqual({ project: 7 });
	expect(seen[0]!.event.request.headers.get('x-team')).toBe('red');
	expect(seen[0]!.message).not.toHaveProperty('cursor');
});

for (const [what, view, expected] of [
	['a fault', () => Promise.reject(new Error('secret')), { code: 503, fatal: false }],
	['error(403)', () => error(403, 'Not yours'), { code: 403, fatal: true, detail: 'Not yours' }],
	[
		'RealtimeDenied',
		() => Promise.reject(new RealtimeDenied('Sign in')),
		{ code: 403, fatal: true, detail: 'Sign in' }
	],
	['an answer that is none', () => undefined, { code: 503, fatal: false }],
	['what cannot be JSON', () => ({ data: 1n }), { code: 503, fatal: false }],
	['one that hangs', () => new Promise(() => {}), { code: 503, fatal: false }]
] as const) {
	test(`${what} lets nothing through and ends the channel`, async () => {
		await start(({ message }) => (message.data.message === 'bad' ? view() : message), {
			callbackTimeoutMs: 100
		});
		const red = await open('red');
		await emit('red', 'good');
		await red.when(() => red.texts.length === 1);
		await emit('red', 'bad');
		await emit('red', 'after');
		await red.end();
		expect(red.texts).toEqual(['good']);
		expect(red.frames.at(-1)!.data).toMatchObject({
			status: 'degraded',
			stage: 'reauthorization',
			...expected
		});
		expect(failures).toHaveLength(1);
		expect(failures[0]).toMatchObject({ callback: 'view', channelId: 'rows' });
		expect(JSON.stringify(red.frames)).not.toContain('secret');
		const answer = await ask('red', {});
		expect(answer.status).toBe(expected.code);
	});
}

test('`latest` leaves a reader its own newest, whatever is newest for others', async () => {
	await start(own, {}, { latest: { progress: true } });
	const before = await realtime.cursor(rowsChannel);
	await emit('red', '50 %', 'progress');
	await emit('blue', '10 %', 'progress');
	const red = await open('red', { lastEventId: before });
	expect(red.texts).toEqual(['50 %']);
});

test('server code sees everything, or what the reader of a request sees', async () => {
	let event!: never;
	await start((context) => {
		event = context.event as never;
		return own(context);
	});
	const red = await open('red');
	await emit('red', 'r1');
	await red.when(() => red.texts.length === 1);
	await emit('blue', 'b1');
	expect(textsOf(await realtime.history(rowsChannel))).toEqual(['r1', 'b1']);
	expect(textsOf(await realtime.history(rowsChannel, { event }))).toEqual(['r1']);
	const seen: string[] = [];
	for await (const item of realtime.subscribe(rowsChannel, { event, history: 10 })) {
		if (item.kind === 'resync') continue;
		seen.push((item.data as { message: string }).message);
		if (seen.length === 1) {
			await emit('blue', 'b2');
			await emit('red', 'r2');
		} else break;
	}
	expect(seen).toEqual(['r1', 'r2']);
});

test('an iteration ends with an error where the view fails', async () => {
	let event!: never;
	await start((context) => {
		event = context.event as never;
		if (context.message.data.message === 'bad') error(403, 'Not yours');
		return context.message;
	});
	const red = await open('red');
	await emit('red', 'good');
	await red.when(() => red.texts.length === 1);
	const items = realtime.subscribe(rowsChannel, { event });
	const next = items.next();
	await emit('red', 'bad');
	await expect(next).rejects.toMatchObject({
		code: 'DENIED',
		message: expect.stringContaining('Not yours')
	});
	await expect(realtime.history(rowsChannel, { event })).rejects.toMatchObject({ code: 'DENIED' });
});
