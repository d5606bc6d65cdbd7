import { error } from '@sveltejs/kit';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { defineEvent } from '../../src/lib/protocol/event.js';
import {
	createRealtime,
	RealtimeDenied,
	RealtimeError,
	type RealtimeEventAudit
} from '../../src/lib/server/index.js';
import { FakeServer } from '../support/backend.js';
import { demoChannel } from '../support/channels.js';
import { createOrder, say, startJob } from '../support/events.js';
import { startSending as start, type Answer } from '../support/sending.js';
import { clientAt, until } from '../support/upstream.js';
import { openStream } from '../support/sse.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
	vi.restoreAllMocks();
	for (const clean of cleanups.splice(0).reverse()) await clean();
});

const allowed = { authorize: () => true };
let ids = 0;
const newId = (): string => `id-${++ids}`;
const message = (text = 'hello') => ({ event: 'demo/say', id: newId(), data: { message: text } });

test('an event is authorized, validated and run; what it emits names the event', async () => {
	const seen: unknown[] = [];
	const { realtime, url, send } = await start({
		say: {
			event: say,
			authorize: ({ data, id, identity, requestId, locals }) => {
				seen.push({ data, id, identity, requestId, locals });
				return true;
			},
			async run({ emit, id, name, requestId, identity, signal }, { message }) {
				seen.push({ id, name, requestId, identity, aborted: signal.aborted });
				await emit(demoChannel().message, { message });
				return { said: message, secret: 'not in the result schema' };
			}
		}
	});
	const stream = await openStream(url, { channel: 'demo' });
	cleanups.push(() => stream.close());
	await stream.connected();
	const answer = await send(
		{ event: 'demo/say', id: 'e1', data: { message: ' hello ' } },
		{ 'x-user': 'alice', 'x-request-id': 'r-1' }
	);
	expect(answer).toMatchObject({ status: 200 });
	expect(answer.headers.get('cache-control')).toBe('no-store');
	expect(answer.headers.get('x-request-id')).toBe('r-1');
	const echo = await stream.until(({ event }) => event === 'message');
	expect(echo.data).toMatchObject({ data: { message: 'hello' }, clientEventId: 'e1' });
	expect(answer.body).toEqual({
		id: 'e1',
		status: 'done',
		result: { said: 'hello' },
		emitted: [{ channel: 'demo', topic: 'message', cursor: echo.id }]
	});
	const sender = { id: 'e1', requestId: 'r-1', identity: { id: 'alice' } };
	expect(seen).toEqual([
		{ ...sender, data: { message: ' hello ' }, locals: {} },
		{ ...sender, name: 'demo/say', aborted: false }
	]);
	const { messages } = await realtime.history(demoChannel);
	expect(messages).toMatchObject([{ clientEventId: 'e1', cursor: echo.id }]);
});

describe('statuses', () => {
	test('malformed, unknown, invalid, denied', async () => {
		const run = vi.fn(() => ({ said: '' }));
		const { send, failures } = await start({
			say: {
				event: say,
				run,
				authorize: ({ identity }) => {
					if (identity === null) error(401, 'Sign in first');
					if (identity.id === 'eve') throw new RealtimeDenied('You were banned');
					if (identity.id === 'broken') throw new Error('a secret of the database');
					return identity.id === 'alice';
				}
			}
		});
		const alice = { 'x-user': 'alice' };
		const cases: [string, unknown, Record<string, string>, number, string, object][] = [
			['no id', { event: 'demo/say' }, alice, 400, 'event-validation', {}],
			['an id of another type', { ...message(), id: 1 }, alice, 400, 'event-validation', {}],
			['a long id', { ...message(), id: 'x'.repeat(129) }, alice, 400, 'event-validation', {}],
			['an id with a line break', { ...message(), id: 'a\nb' }, alice, 400, 'event-validation', {}],
			['a name of another type', { event: 1, id: 'a' }, alice, 400, 'event-validation', {}],
			['a version of another type', { ...message(), v: '1' }, alice, 400, 'event-validation', {}],
			[
				'unknown',
				{ event: 'nobody', id: 'a' },
				alice,
				400,
				'event-validation',
				{ error: 'Unknown event' }
			],
			['a key of Object', { event: 'constructor', id: 'a' }, alice, 400, 'event-validation', {}],
			['a shape of nothing', { nothing: 1 }, alice, 400, 'request-validation', {}],
			['not signed in', message(), {}, 401, 'event-authorization', { error: 'Sign in first' }],
			['denied', message(), { 'x-user': 'bob' }, 403, 'event-authorization', {}],
			[
				'banned',
				message(),
				{ 'x-user': 'eve' },
				403,
				'event-authorization',
				{ error: 'You were banned' }
			],
			['a fault', message(), { 'x-user': 'broken' }, 503, 'event-authorization', {}],
			[
				'invalid',
				message(' '.repeat(0)),
				alice,
				422,
				'event-validation',
				{
					issues: [{ path: ['message'], message: expect.any(String) }]
				}
			],
			[
				'no data',
				{ event: 'demo/say', id: 'a' },
				alice,
				422,
				'event-validation',
				{
					issues: [{ path: [], message: expect.any(String) }]
				}
			]
		];
		for (const [what, body, headers, status, stage, more] of cases) {
			const answer = await send(body, headers);
			expect(answer, what).toMatchObject({ status, body: { error: expect.any(String), ...more } });
			expect(failures.at(-1), what).toMatchObject({ stage, status });
			expect(JSON.stringify(answer.body), what).not.toMatch(/secret|\bat .*:\d/);
			expect(answer.headers.get('cache-control'), what).toBe('no-store');
		}
		expect(run).not.toHaveBeenCalled();
		expect(failures.at(-1)).toMatchObject({
			eventName: 'demo/say',
			eventId: 'a',
			requestId: expect.stringMatching(/^[\da-f-]{36}$/),
			event: expect.any(Object)
		});
	});

	test('a handler that fails answers what the app wants to tell, and may be tried again', async () => {
		const thrown: unknown[] = [
			new Error('a secret of the database'),
			new RealtimeDenied('Not yours'),
			new RealtimeError('BACKEND', 'a secret of the backend'),
			(() => {
				try {
					error(418, 'Teapot');
				} catch (error) {
					return error;
				}
			})()
		];
		const run = vi.fn(() => {
			if (thrown.length > 0) throw thrown.shift();
			return { said: 'at last' };
		});
		const { send, failures } = await start({ say: { event: say, ...allowed, run } });
		const event = message();
		expect(await send(event)).toMatchObject({
			status: 500,
			body: { error: 'The event could not be handled.' }
		});
		expect(failures.at(-1)).toMatchObject({ stage: 'event', callback: 'run', channelId: 'demo' });
		expect(await send(event)).toMatchObject({ status: 403, body: { error: 'Not yours' } });
		const away = await send(event);
		expect(away.status).toBe(503);
		expect(away.headers.get('retry-after')).toBe('1');
		expect(JSON.stringify(away.body)).not.toContain('secret');
		expect(await send(event)).toMatchObject({ status: 418, body: { error: 'Teapot' } });
		expect(await send(event)).toMatchObject({ status: 200, body: { result: { said: 'at last' } } });
		expect(await send(event)).toMatchObject({ status: 200, body: { result: { said: 'at last' } } });
		expect(run).toHaveBeenCalledTimes(5);
	});

	test('onFailure says what the page is told', async () => {
		const { send } = await start(
			{
				say: {
					event: say,
					...allowed,
					run() {
						throw new Error('secret');
					}
				}
			},
			{ onFailure: ({ stage }) => ({ message: `told: ${stage}` }) }
		);
		expect((await send(message())).body).toEqual({ error: 'told: event' });
	});

	test('a result that its schema refuses is a fault of the app', async () => {
		const { send, failures } = await start({
			say: { event: say, ...allowed, run: () => ({ said: 1 }) as never }
		});
		expect((await send(message())).status).toBe(500);
		expect(failures.at(-1)).toMatchObject({ stage: 'event', error: { code: 'INVALID_MESSAGE' } });
	});

	test('a rate counts by sender, and says when to come back', async () => {
		const { send } = await start({
			say: {
				event: say,
				...allowed,
				run: () => ({ said: '' }),
				rate: { points: 2, intervalMs: 60_000 }
			}
		});
		const statuses: number[] = [];
		for (let n = 0; n < 3; n++) statuses.push((await send(message(), { 'x-user': 'a' })).status);
		expect(statuses).toEqual([200, 200, 429]);
		const limited = await send(message(), { 'x-user': 'a' });
		expect(Number(limited.headers.get('retry-after'))).toBeGreaterThan(20);
		expect((await send(message(), { 'x-user': 'b' })).status).toBe(200);
	});

	test('a blocked sender cannot send events either; the rate of the endpoint counts them', async () => {
		const run = vi.fn(({ id }: { id: string }) => ({ said: id }));
		const { realtime, send } = await start(
			{ say: { event: say, ...allowed, run } },
			{ limits: { rate: { points: 3, intervalMs: 60_000 } } }
		);
		await realtime.ban('alice', 60_000);
		const refused = await send(message(), { 'x-user': 'alice' });
		expect(refused.status).toBe(429);
		expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(50);
		await realtime.unban('alice');
		// What was refused counts as well.
		const statuses = [];
		for (let n = 0; n < 3; n++) {
			statuses.push((await send(message(), { 'x-user': 'alice' })).status);
		}
		expect(statuses).toEqual([200, 200, 429]);
		expect((await send(message(), { 'x-user': 'bob' })).status).toBe(200);
		expect(run).toHaveBeenCalledTimes(3);
	});

	test('a handler that takes too long: its signal aborts, and the page asks again', async () => {
		let finish!: (value: { said: string }) => void;
		let signal!: AbortSignal;
		const run = vi.fn((context: { signal: AbortSignal }) => {
			({ signal } = context);
			return new Promise<{ said: string }>((resolve) => (finish = resolve));
		});
		const { send, failures } = await start({
			say: { event: say, ...allowed, run, timeoutMs: 50 }
		});
		const event = message();
		const late = await send(event);
		expect(late.status).toBe(503);
		expect(late.headers.get('retry-after')).toBe('1');
		expect(failures.at(-1)).toMatchObject({
			stage: 'event',
			callback: 'run',
			error: { code: 'CALLBACK_TIMEOUT' }
		});
		expect(signal.aborted).toBe(true);
		const again = send(event);
		finish({ said: 'late' });
		expect(await again).toMatchObject({ status: 200, body: { result: { said: 'late' } } });
		expect(run).toHaveBeenCalledTimes(1);
	});
});

describe('idempotency', () => {
	test('an id runs once, whenever it is sent again; other data is a conflict', async () => {
		const run = vi.fn(async (_: unknown, { message }: { message: string }) => {
			await new Promise((resolve) => setTimeout(resolve, 20));
			return { said: message };
		});
		const { send } = await start({ say: { event: say, ...allowed, run } });
		const event = message();
		const answers = await Promise.all(Array.from({ length: 20 }, () => send(event)));
		answers.push(await send(event));
		for (const { status, body } of answers)
			expect({ status, body }).toEqual({ status: 200, body: answers[0]!.body });
		expect(run).toHaveBeenCalledTimes(1);
		expect(await send({ ...event, data: { message: 'other' } })).toMatchObject({
			status: 409,
			body: { reason: 'conflict' }
		});
	});

	test('ids of one sender say nothing about those of another', async () => {
		const run = vi.fn((context: { identity: { id: string } | null }) => ({
			said: `for ${context.identity?.id}`
		}));
		const { send } = await start({ say: { event: say, ...allowed, run } });
		const event = message();
		for (const user of ['alice', 'eve', 'alice']) {
			const { body } = await send(event, { 'x-user': user });
			expect(body.result).toEqual({ said: `for ${user}` });
		}
		expect(run).toHaveBeenCalledTimes(2);
	});

	test('rights are checked again when an id is sent again', async () => {
		let isAllowed = true;
		const { send } = await start({
			say: { event: say, authorize: () => isAllowed, run: () => ({ said: 'secret' }) }
		});
		const event = message();
		expect((await send(event)).status).toBe(200);
		isAllowed = false;
		expect(await send(event)).toMatchObject({ status: 403, body: { error: expect.any(String) } });
	});

	test('two processes that share a backend run an id once; the second waits for the first', async () => {
		const server = new FakeServer();
		const runs: string[] = [];
		const process = (name: string) =>
			start(
				{
					say: {
						event: say,
						...allowed,
						async run() {
							runs.push(name);
							await new Promise((resolve) => setTimeout(resolve, 100));
							return { said: name };
						}
					}
				},
				{ backend: server.connect() }
			);
		const [one, two] = [await process('one'), await process('two')];
		const event = message();
		const [first, second] = await Promise.all([one.send(event), two.send(event)]);
		expect(first.body).toEqual(second.body);
		expect(runs).toHaveLength(1);
		expect((await two.send({ ...event, data: { message: 'x' } })).status).toBe(409);
	});

	test('while the backend is unavailable an event is refused, and can be sent again', async () => {
		const server = new FakeServer();
		const run = vi.fn(() => ({ said: '' }));
		const { send, failures } = await start(
			{ say: { event: say, ...allowed, run, rate: { points: 2, intervalMs: 60_000 } } },
			{ backend: server.connect() }
		);
		server.stop();
		const event = message();
		const refused = await send(event);
		expect(refused.status).toBe(503);
		expect(refused.headers.get('retry-after')).toBe('1');
		expect(failures).toContainEqual(expect.objectContaining({ stage: 'event', status: 503 }));
		expect(run).not.toHaveBeenCalled();
		await send(event);
		// Rates are counted in this process meanwhile.
		expect((await send(event)).status).toBe(429);
		server.start();
	});

	test('once: for what is no event, and for parts of a handler', async () => {
		const charge = vi.fn(() => 'charged');
		let fails = 1;
		const { realtime, send } = await start({
			say: {
				event: say,
				...allowed,
				async run({ once }) {
					const said = await once('charge', charge);
					if (fails-- > 0) throw new Error('after the charge');
					return { said };
				}
			}
		});
		const event = message();
		expect((await send(event)).status).toBe(500);
		expect((await send(event)).body.result).toEqual({ said: 'charged' });
		expect(charge).toHaveBeenCalledTimes(1);
		await send(message());
		expect(charge).toHaveBeenCalledTimes(2);

		const fn = vi.fn(async () => ({ at: new Date(0), none: undefined }));
		const results = await Promise.all([realtime.once('k', fn), realtime.once('k', fn)]);
		expect(results).toEqual([
			{ at: '1970-01-01T00:00:00.000Z' },
			{ at: '1970-01-01T00:00:00.000Z' }
		]);
		expect(await realtime.once('k', fn)).toEqual(results[0]);
		expect(fn).toHaveBeenCalledTimes(1);
		expect(await realtime.once('nothing', () => {})).toBeUndefined();
		const failing = vi.fn(() => Promise.reject(new Error('no')));
		await expect(realtime.once('f', failing)).rejects.toThrow('no');
		await expect(realtime.once('f', failing)).rejects.toThrow('no');
		expect(failing).toHaveBeenCalledTimes(2);
	});
});

test('without a handler the event goes to Inngest, whose ids are scoped to the sender as well', async () => {
	const sent: Record<string, unknown>[] = [];
	let fails = true;
	const inngest = Object.assign(clientAt('http://127.0.0.1:9'), {
		async send(payload: Record<string, unknown>) {
			if (fails) throw new Error('a secret of Inngest');
			sent.push(payload);
			return { ids: [] };
		}
	});
	const { send } = await start({ job: { event: startJob, ...allowed } }, { inngest });
	const event = { event: 'jobs/start', id: 'j1', data: { jobId: '7', more: 1 } };
	const refused = await send(event, { 'x-user': 'alice' });
	expect(refused.status).toBe(503);
	expect(JSON.stringify(refused.body)).not.toContain('secret');
	fails = false;
	for (const user of ['alice', 'alice', 'eve']) {
		expect((await send(event, { 'x-user': user })).body).toEqual({
			id: 'j1',
			status: 'queued',
			emitted: []
		});
	}
	expect(sent).toEqual([
		{ id: expect.stringMatching(/:j1$/), name: 'jobs/start', data: { jobId: '7' }, v: '1' },
		{ id: expect.stringMatching(/:j1$/), name: 'jobs/start', data: { jobId: '7' }, v: '1' }
	]);
	expect(sent[0]!.id).not.toBe(sent[1]!.id);
});

test('old pages are translated; a version that nobody knows is told to reload', async () => {
	const third = defineEvent('v/event', { schema: z.object({ three: z.string() }), version: 3 });
	const { send } = await start({
		event: {
			event: third,
			...allowed,
			run: (_, data) => data,
			upgrade: {
				1: ({ one }: { one: string }) => ({ two: one }),
				2: ({ two }: { two: string }) => ({ three: two.toUpperCase() })
			}
		}
	});
	const v = async (v: number | undefined, data: unknown): Promise<Answer> =>
		send({ event: 'v/event', id: newId(), data, v });
	expect((await v(1, { one: 'a' })).body.result).toEqual({ three: 'A' });
	expect((await v(2, { two: 'b' })).body.result).toEqual({ three: 'B' });
	expect((await v(3, { three: 'c' })).body.result).toEqual({ three: 'c' });
	expect((await v(undefined, { three: 'c' })).body.result).toEqual({ three: 'c' });
	expect(await v(2, { hostile: true })).toMatchObject({ status: 422 });
	expect(await v(4, {})).toMatchObject({ status: 409, body: { reason: 'outdated' } });
	const { send: bare } = await start({ event: { event: third, ...allowed, run: () => null } });
	expect(await bare({ event: 'v/event', id: 'a', v: 1 })).toMatchObject({
		status: 409,
		body: { reason: 'outdated', error: expect.stringContaining('reload') }
	});
});

test('onEvent hears what became of each event, once', async () => {
	const heard: RealtimeEventAudit[] = [];
	let fails = true;
	const { send } = await start(
		{
			say: {
				event: say,
				authorize: ({ identity }) => identity !== null,
				async run({ emit }, { message }) {
					if (fails) throw new Error('no');
					await emit(demoChannel().message, { message });
					return { said: message };
				}
			}
		},
		{
			onEvent(audit) {
				heard.push(audit);
				throw new Error('an audit log that is full');
			},
			onFailure() {}
		}
	);
	const complaint = vi.spyOn(console, 'error').mockImplementation(() => {});
	const event = message();
	const alice = { 'x-user': 'alice', 'x-request-id': 'r' };
	await send(event);
	await send(event, alice);
	fails = false;
	await Promise.all([send(event, alice), send(event, alice)]);
	await send(event, alice);
	expect(heard.map(({ outcome, status, key }) => [outcome, status, key])).toEqual([
		['refused', 403, expect.any(String)],
		['failed', 500, 'id alice'],
		['done', 200, 'id alice']
	]);
	expect(heard[2]).toMatchObject({
		id: event.id,
		name: 'demo/say',
		channel: 'demo',
		requestId: 'r',
		durationMs: expect.any(Number),
		emitted: [{ channel: 'demo', topic: 'message', cursor: expect.any(String) }]
	});
	expect(complaint).toHaveBeenCalledTimes(3);
});

test('results are what a page gets: the output of the schema, as JSON', async () => {
	const { send } = await start({
		order: {
			event: createOrder,
			...allowed,
			run: (_, { product, count }) => ({ orderId: `${count}×${product}`, at: new Date(0) })
		}
	});
	const { body } = await send({
		event: 'orders/create',
		id: 'o',
		data: { product: 'tea', count: '2' }
	});
	expect(body.result).toEqual({ orderId: '2×tea', at: '1970-01-01T00:00:00.000Z' });
});

describe('hostile input', () => {
	test('10 MB, deep nesting and prototype keys are refused, and nothing runs', async () => {
		const run = vi.fn(() => null);
		const anything = defineEvent('any', { schema: z.any() });
		const { send } = await start({ any: { event: anything, ...allowed, run } });
		const text = (data: string): string => `{"event":"any","id":"a","data":${data}}`;
		await expect(
			send(text(`"${'x'.repeat(10 * 1024 * 1024)}"`)).then(({ status }) => status)
		).resolves.toBe(413);
		expect((await send(text(`"${'x'.repeat(100 * 1024)}"`))).status).toBe(413);
		expect((await send(text('['.repeat(30_000) + ']'.repeat(30_000)))).status).toBe(400);
		expect((await send(text('{"__proto__":{"admin":true}}'))).status).toBe(400);
		expect((await send(text('{"a":[{"__proto__":1}]}'))).status).toBe(400);
		expect((await send('{"event":"any","id":"a"')).status).toBe(400);
		expect((await send('{"__proto__":{"event":"any","id":"a"}}')).status).toBe(400);
		expect(run).not.toHaveBeenCalled();
		expect((await send(text('{"constructor":1}'))).status).toBe(200);
	});

	test('of 10,000 events at once each is answered, and no more are handled than may be', async () => {
		let running = 0;
		let most = 0;
		const { realtime } = await start(
			{
				say: {
					event: say,
					...allowed,
					async run() {
						most = Math.max(most, ++running);
						await new Promise((resolve) => setTimeout(resolve, 1));
						running--;
						return { said: '' };
					}
				}
			},
			{ limits: { maxEvents: 100 } }
		);
		const post = async (n: number): Promise<Response> =>
			realtime.POST({
				request: new Request('http://x/', {
					method: 'POST',
					body: JSON.stringify({ ...message(), id: `flood-${n}` })
				}),
				url: new URL('http://x/'),
				locals: {},
				route: { id: null },
				getClientAddress: () => '1'
			} as never);
		const answers = await Promise.all(Array.from({ length: 10_000 }, (_, n) => post(n)));
		const statuses = new Map<number, number>();
		for (const { status, headers } of answers) {
			statuses.set(status, (statuses.get(status) ?? 0) + 1);
			if (status === 503) expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
		}
		expect([...statuses.keys()].sort()).toEqual([200, 503]);
		expect(statuses.get(200)).toBeGreaterThanOrEqual(100);
		expect(most).toBeLessThanOrEqual(100);
	});

	test('a page of another site sends nothing', async () => {
		const run = vi.fn(() => ({ said: '' }));
		const { send } = await start({ say: { event: say, ...allowed, run } });
		expect((await send(message(), { 'sec-fetch-site': 'cross-site' })).status).toBe(403);
		expect(run).not.toHaveBeenCalled();
	});
});

test('a request that subscribes stays a stream, whatever else it has', async () => {
	const { url } = await start({ say: { event: say, ...allowed, run: () => ({ said: '' }) } });
	const stream = await openStream(url, { channel: 'demo', event: 'demo/say' });
	cleanups.push(() => stream.close());
	expect(await stream.until(({ event }) => event === 'health')).toBeDefined();
});

test('an endpoint that was closed runs nothing more, and asks handlers to end', async () => {
	let signal: AbortSignal | undefined;
	const { realtime, send } = await start({
		say: {
			event: say,
			...allowed,
			run: (context) =>
				new Promise((_, reject) => {
					({ signal } = context);
					context.signal.addEventListener('abort', () => reject(context.signal.reason));
				})
		}
	});
	const running = send(message());
	await until(() => signal !== undefined, 'the handler to run');
	realtime.close();
	expect((await running).status).toBe(500);
	expect(signal!.reason).toMatchObject({ code: 'CLOSED' });
	expect((await send(message())).status).toBe(503);
});

test('entries that cannot work are refused at creation', () => {
	const create = (events: unknown) => () =>
		createRealtime({
			inngest: clientAt('http://x'),
			channels: { demo: { channel: demoChannel, authorize: () => true } },
			events: events as never
		});
	expect(create({ a: { event: {}, ...allowed } })).toThrow('defineEvent()');
	expect(create({ a: { event: say } })).toThrow('`events.a.authorize` is missing');
	expect(create({ a: { event: say, ...allowed }, b: { event: say, ...allowed } })).toThrow(
		'both called'
	);
	expect(create({ a: { event: say, ...allowed, rate: { points: 0, intervalMs: 1 } } })).toThrow(
		'points'
	);
	expect(() => defineEvent('', { schema: z.any() })).toThrow('name');
	expect(() => defineEvent('x', { schema: {} as never })).toThrow('Standard Schema');
	expect(() => defineEvent('x', { schema: z.any(), version: 0 })).toThrow('version');
});
