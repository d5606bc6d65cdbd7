import { createConnection } from 'node:net';
import { error, redirect } from '@sveltejs/kit';
import { describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { defineEvent } from '../../src/lib/protocol/event.js';
import { RealtimeDenied, RealtimeError } from '../../src/lib/server/index.js';
import { FakeServer } from '../support/backend.js';
import { demoChannel } from '../support/channels.js';
import { say } from '../support/events.js';
import { startSending } from '../support/sending.js';
import { eventually } from '../support/wait.js';

const anything = defineEvent('any', { schema: z.unknown() });
const allowed = { authorize: () => true };
let ids = 0;
const newId = (): string => `hostile-${++ids}`;
const event = (data: unknown = null) => ({ event: 'any', id: newId(), data });

describe('what arrives', () => {
	test('every field of any other type is refused before anything of the app is asked', async () => {
		const authorize = vi.fn(() => true);
		const run = vi.fn(() => null);
		const { send, failures, heard } = await startSending({
			any: { event: anything, authorize, run }
		});
		const others = [null, true, 1, 1.5, -1, [], ['any'], {}, { any: 1 }, ''];
		const bodies: unknown[] = [
			...others.map((event) => ({ event, id: 'a', data: 1 })),
			...others.map((id) => ({ event: 'any', id, data: 1 })),
			...[null, true, '1', [], {}, 0, -1, 1.5, 1e300].map((v) => ({ ...event(), v })),
			...others.map((body) => body),
			...['é', 'a b', 'a\u0000', '\u202e', '\ud800', 'x'.repeat(10_000)].map((id) => ({
				...event(),
				id
			})),
			...['__proto__', 'constructor', 'toString', 'any ', 'ANY', '*', 'x'.repeat(10_000)].map(
				(event) => ({ event, id: 'a', data: 1 })
			),
			'',
			'null',
			'"any"',
			'{"event":"any","id":"a","data":NaN}',
			'\u0000',
			'{"event":"any","id":"a","id":1}'
		];
		for (const body of bodies) {
			const what = JSON.stringify(body).slice(0, 80);
			const { status, body: answer } = await send(body);
			expect(status, what).toBe(400);
			expect(Object.keys(answer), what).toEqual(['error']);
		}
		expect(authorize).not.toHaveBeenCalled();
		expect(run).not.toHaveBeenCalled();
		expect(heard).toEqual([]);
		expect(failures).toHaveLength(bodies.length);
	});

	test('ids with names of prototypes are ids like any other', async () => {
		const run = vi.fn(({ id }: { id: string }) => id);
		const { send } = await startSending({ any: { event: anything, ...allowed, run } });
		for (const id of [
			'__proto__',
			'constructor',
			'toString',
			'hasOwnProperty',
			'{}',
			'"\\',
			'%00'
		]) {
			for (let n = 0; n < 2; n++) {
				expect((await send({ ...event(), id })).body).toMatchObject({ id, result: id });
			}
			expect((await send({ ...event(1), id })).status).toBe(409);
		}
		expect(run).toHaveBeenCalledTimes(7);
	});

	test('100,000 brackets and keys of prototypes in data reach no handler', async () => {
		const run = vi.fn(() => null);
		const { send } = await startSending({ any: { event: anything, ...allowed, run } });
		const raw = async (data: string): Promise<number> =>
			(await send(`{"event":"any","id":"${newId()}","data":${data}}`)).status;
		expect(await raw('['.repeat(100_000))).toBe(413);
		expect(await raw('['.repeat(100_000) + ']'.repeat(100_000))).toBe(413);
		expect(await raw('['.repeat(32_000))).toBe(400);
		expect(await raw('['.repeat(32_000) + ']'.repeat(32_000))).toBe(400);
		expect(await raw('{"a":'.repeat(10_000) + '1' + '}'.repeat(10_000))).toBe(400);
		expect(await raw('{"\\u005f_proto__":{"admin":true}}')).toBe(400);
		expect(await raw('[[[{"a":{"__proto__":null}}]]]')).toBe(400);
		expect(run).not.toHaveBeenCalled();
		expect(await raw('{"constructor":{"prototype":{"admin":true}}}')).toBe(200);
		expect(({} as { admin?: boolean }).admin).toBeUndefined();
	});

	test.each(['announced', 'in chunks'])(
		'10 MB that come %s are answered, and run nothing',
		async (how) => {
			const run = vi.fn(() => null);
			const { url } = await startSending({ any: { event: anything, ...allowed, run } });
			const { port } = new URL(url);
			const socket = createConnection(Number(port), '127.0.0.1');
			socket.on('error', () => {});
			let answer = '';
			socket.on('data', (data) => (answer += String(data)));
			const length = 10 * 1024 * 1024;
			const header =
				how === 'announced' ? `content-length: ${length}` : 'transfer-encoding: chunked';
			socket.write(
				`POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${header}\r\n\r\n`
			);
			const part = 'x'.repeat(64 * 1024);
			const chunk = how === 'announced' ? part : `10000\r\n${part}\r\n`;
			for (let sent = 0; sent < length && !answer && !socket.destroyed; sent += part.length) {
				await new Promise((resolve) => socket.write(chunk, resolve));
			}
			if (how === 'in chunks') socket.write('0\r\n\r\n');
			await eventually(() => answer.includes('\r\n\r\n'));
			expect(answer).toMatch(/^HTTP\/1\.1 413 /);
			expect(answer).toContain('"error"');
			socket.destroy();
			expect(run).not.toHaveBeenCalled();
		}
	);

	test('only a POST sends an event, and only from the same site', async () => {
		const run = vi.fn(() => null);
		const { url, send } = await startSending({ any: { event: anything, ...allowed, run } });
		const query = '?event=any&id=a&data=1';
		expect((await fetch(url + query)).status).toBe(400);
		expect((await fetch(url + query, { method: 'HEAD' })).status).toBe(400);
		const cross = await send(event(), { 'sec-fetch-site': 'cross-site' });
		expect([cross.status, cross.body]).toEqual([403, { error: expect.any(String) }]);
		expect(run).not.toHaveBeenCalled();
		expect((await send(event(), { 'sec-fetch-site': 'same-site' })).status).toBe(200);
	});

	test('an invalid request id is replaced, and every report has the new one', async () => {
		const seen: string[] = [];
		const { send, heard, failures } = await startSending({
			any: {
				event: anything,
				authorize: ({ requestId }) => seen.push(requestId) > 0,
				run({ requestId }, data) {
					seen.push(requestId);
					if (data === 'fail') throw new Error('no');
				}
			}
		});
		for (const hostile of ['', 'a b', 'é', 'x'.repeat(129), '\t', undefined]) {
			const headers: Record<string, string> =
				hostile === undefined ? {} : { 'x-request-id': hostile };
			const id = (await send(event(), headers)).headers.get('x-request-id')!;
			expect(id).toMatch(/^[\da-f-]{36}$/);
			expect(seen.splice(0)).toEqual([id, id]);
			expect(heard.at(-1)!.requestId).toBe(id);
		}
		const given = await send(event('fail'), { 'x-request-id': '<script>"%0a' });
		expect(given.headers.get('x-request-id')).toBe('<script>"%0a');
		expect(failures.at(-1)!.requestId).toBe('<script>"%0a');
	});
});

describe('what may run', () => {
	test.each([undefined, null, 1, 'yes', {}, [], { allowed: true }, false])(
		'`authorize` that answers %j consents to nothing',
		async (answer) => {
			const run = vi.fn(() => null);
			const { send, heard } = await startSending({
				any: { event: anything, authorize: (async () => answer) as never, run }
			});
			expect((await send(event())).status).toBe(403);
			expect(run).not.toHaveBeenCalled();
			expect(heard).toMatchObject([{ outcome: 'refused', status: 403 }]);
		}
	);

	test('without permission, no schema is called and no remembered answer is returned', async () => {
		const validate = vi.fn((value: unknown) => ({ value }));
		const spied = defineEvent('any', {
			schema: { '~standard': { version: 1, vendor: 'test', validate } }
		});
		const { send } = await startSending({
			any: {
				event: spied,
				authorize: ({ identity }) => identity?.id === 'alice',
				run: () => 'for alice'
			}
		});
		const sent = event();
		expect((await send(sent, { 'x-user': 'alice' })).body.result).toBe('for alice');
		validate.mockClear();
		for (const user of ['eve', undefined]) {
			const { status, body } = await send(sent, user ? { 'x-user': user } : {});
			expect([status, Object.keys(body)]).toEqual([403, ['error']]);
		}
		expect(validate).not.toHaveBeenCalled();
	});

	test('upgrades with a missing, a failing or an endless step end the event', async () => {
		const run = vi.fn((_: unknown, data: unknown) => data);
		const fifth = defineEvent('any', { schema: z.number(), version: 5 });
		const { send, failures } = await startSending({
			any: {
				event: fifth,
				...allowed,
				run,
				upgrade: {
					1: (data: number) => data + 1,
					2: (data: number) => data + 1,
					4: (data: number) => {
						if (data < 0) throw new Error('a secret');
						return data * 10;
					}
				}
			}
		});
		const v = (v: number, data: unknown) => send({ event: 'any', id: newId(), data, v });
		for (const version of [1, 2, 3, 6, 2 ** 53 - 1]) {
			expect(await v(version, 1), `version ${version}`).toMatchObject({
				status: 409,
				body: { reason: 'outdated', error: expect.stringContaining('reload') }
			});
		}
		expect(await v(4, -1)).toMatchObject({ status: 422, body: { issues: [{ path: [] }] } });
		expect(failures.at(-1)).toMatchObject({ stage: 'event-validation', callback: 'upgrade' });
		expect(run).not.toHaveBeenCalled();
		expect((await v(4, 1)).body.result).toBe(10);
	});

	test("issues have paths, whatever form the schema's paths have", async () => {
		const nested = z.object({ lines: z.array(z.object({ 'a.b': z.string() })), n: z.number() });
		const odd = {
			'~standard': {
				version: 1 as const,
				vendor: 'test',
				validate: () => ({
					issues: [
						{ message: 'a symbol', path: [Symbol('hidden'), { key: Symbol.iterator }] },
						{ message: 'objects', path: [{ key: 'a' }, { key: 0 }] },
						{ message: 'no path' }
					]
				})
			}
		};
		const { send } = await startSending({
			nested: { event: defineEvent('nested', { schema: nested }), ...allowed, run: () => null },
			odd: { event: defineEvent('odd', { schema: odd }), ...allowed, run: () => null }
		});
		const issues = async (event: string, data: unknown): Promise<unknown> => {
			const { status, body } = await send({ event, id: newId(), data });
			expect(status).toBe(422);
			return (body.issues as { path: unknown }[]).map(({ path }) => path);
		};
		expect(await issues('nested', { lines: [{ 'a.b': '' }, { 'a.b': 1 }], n: 'x' })).toEqual([
			['lines', 1, 'a.b'],
			['n']
		]);
		expect(await issues('odd', null)).toEqual([
			['Symbol(hidden)', 'Symbol(Symbol.iterator)'],
			['a', 0],
			[]
		]);
		const many = { lines: Array.from({ length: 2_000 }, () => ({})), n: 1 };
		expect(((await issues('nested', many)) as unknown[]).length).toBeLessThanOrEqual(50);
	});

	test('the same data in another order is the same event', async () => {
		const run = vi.fn(() => 'ran');
		const { send } = await startSending({ any: { event: anything, ...allowed, run } });
		const id = newId();
		const first = await send({ event: 'any', id, data: { a: 1, b: { c: [1, 2], d: 2 } }, v: 1 });
		const again = await send({ v: 1, data: { b: { d: 2, c: [1, 2] }, a: 1 }, id, event: 'any' });
		expect(again).toMatchObject({ status: 200, body: first.body });
		// Without a version it is the present one.
		expect((await send({ event: 'any', id, data: { a: 1, b: { c: [1, 2], d: 2 } } })).status).toBe(
			200
		);
		const other = { event: 'any', id, data: { a: 1, b: { c: [2, 1], d: 2 } } };
		expect((await send(other)).status).toBe(409);
		expect(run).toHaveBeenCalledTimes(1);
	});
});

describe('a handler', () => {
	const kit = (act: () => never): unknown => {
		try {
			return act();
		} catch (thrown) {
			return thrown;
		}
	};
	const secret = 'a secret of the database';
	const cases: [what: string, thrown: unknown, status: number, text: string][] = [
		['error(418)', kit(() => error(418, 'Teapot')), 418, 'Teapot'],
		['RealtimeDenied', new RealtimeDenied('Not yours'), 403, 'Not yours'],
		['RealtimeDenied without a text', new RealtimeDenied(), 403, 'Not allowed to send this event.'],
		['a redirect', kit(() => redirect(303, '/secret')), 500, 'The event could not be handled.'],
		['a string', secret, 500, 'The event could not be handled.'],
		['an Error', new Error(secret), 500, 'The event could not be handled.'],
		[
			'an Error that has a status',
			Object.assign(new Error(secret), { status: 403, body: { message: secret } }),
			500,
			'The event could not be handled.'
		],
		['undefined', undefined, 500, 'The event could not be handled.'],
		['null', null, 500, 'The event could not be handled.'],
		[
			'a RealtimeError',
			new RealtimeError('UPSTREAM', secret),
			500,
			'The event could not be handled.'
		],
		[
			'an object whose members throw',
			Object.defineProperty({}, 'body', {
				get() {
					throw new Error(secret);
				}
			}),
			500,
			'The event could not be handled.'
		]
	];
	test.each(cases)('that throws %s', async (_, thrown, status, text) => {
		const run = vi.fn(() => {
			throw thrown;
		});
		const { send, failures, heard } = await startSending({
			any: { event: anything, ...allowed, run }
		});
		const sent = event();
		for (let n = 1; n <= 2; n++) {
			const answer = await send(sent);
			expect([answer.status, answer.body]).toEqual([status, { error: text }]);
			expect(JSON.stringify([...answer.headers])).not.toContain('secret');
			// It may be tried again.
			expect(run).toHaveBeenCalledTimes(n);
		}
		expect(failures).toHaveLength(2);
		expect(failures[0]).toMatchObject({ stage: 'event', eventId: sent.id });
		expect(heard.map(({ status }) => status)).toEqual([status, status]);
	});

	const cycle: Record<string, unknown> = {};
	cycle.self = cycle;
	test.each([
		['a BigInt', { n: 1n }],
		['a cycle', cycle],
		[
			'what throws in toJSON',
			{
				toJSON() {
					throw new Error('a secret');
				}
			}
		]
	])('whose result is %s is a fault that is heard of once', async (_, result) => {
		const { send, failures, heard } = await startSending({
			any: { event: anything, ...allowed, run: () => result }
		});
		const answer = await send(event());
		expect(answer).toMatchObject({ status: 500, body: { error: expect.any(String) } });
		expect(JSON.stringify(answer.body)).not.toContain('secret');
		expect(heard.map(({ outcome, status }) => [outcome, status])).toEqual([['failed', 500]]);
		expect(failures).toMatchObject([{ stage: 'event', error: { code: 'INVALID_MESSAGE' } }]);
		expect(String((failures[0]!.error as Error).message)).toContain('"any"');
	});

	test.each([
		['a date', new Date(0), '1970-01-01T00:00:00.000Z'],
		['a map', new Map([[1, 2]]), {}],
		['NaN', NaN, null],
		['a hole', [1, undefined, () => 1], [1, null, null]],
		['null', null, null],
		['an empty text', '', '']
	])('whose result is %s: the page gets its JSON', async (_, result, json) => {
		const { send } = await startSending({
			any: { event: anything, ...allowed, run: () => result }
		});
		const sent = event();
		expect((await send(sent)).body).toEqual({
			id: sent.id,
			status: 'done',
			result: json,
			emitted: []
		});
		expect((await send(sent)).body.result).toEqual(json);
	});

	test.each([
		['undefined', undefined],
		['a function', () => 1],
		['a symbol', Symbol('x')]
	])('whose result is %s: the answer has none', async (_, result) => {
		const { send } = await startSending({
			any: { event: anything, ...allowed, run: () => result }
		});
		const sent = event();
		expect((await send(sent)).body).toEqual({ id: sent.id, status: 'done', emitted: [] });
	});

	test('that fails while others wait for the same id is heard of once', async () => {
		let fail!: (error: Error) => void;
		const run = vi.fn(() => new Promise((_, reject) => (fail = reject)));
		const { send, heard } = await startSending({ any: { event: anything, ...allowed, run } });
		const sent = event();
		const answers = [send(sent), send(sent), send(sent)];
		await eventually(() => run.mock.calls.length > 0);
		// The others are on their way as well.
		await new Promise((resolve) => setTimeout(resolve, 100));
		fail(new Error('no'));
		for (const answer of answers) expect((await answer).status).toBe(500);
		expect(run).toHaveBeenCalledTimes(1);
		expect(heard.map(({ outcome }) => outcome)).toEqual(['failed']);
	});

	test('that ignores its signal delays nobody, and does not run again while it may still end', async () => {
		const run = vi.fn(() => new Promise(() => {}));
		const { send } = await startSending({
			any: { event: anything, ...allowed, run, timeoutMs: 30 }
		});
		const sent = event();
		const late = await send(sent);
		expect([late.status, late.headers.get('retry-after')]).toEqual([503, '1']);
		const others = await Promise.all([send(event()), send(event())]);
		expect(others.map(({ status }) => status)).toEqual([503, 503]);
		const again = send(sent);
		await new Promise((resolve) => setTimeout(resolve, 100));
		expect(run).toHaveBeenCalledTimes(3);
		void again.catch(() => {});
	});

	test.each(['ends', 'fails'])(
		'that is late and then %s is heard of once, by what became of it in the end',
		async (end) => {
			let finish!: (value: unknown) => void;
			const run = vi.fn(() => new Promise((resolve) => (finish = resolve)));
			const { send, heard, failures } = await startSending({
				any: { event: anything, ...allowed, run, timeoutMs: 30 }
			});
			const sent = event();
			expect((await send(sent)).status).toBe(503);
			const again = send(sent);
			await new Promise((resolve) => setTimeout(resolve, 50));
			expect(heard).toEqual([]);
			expect(failures.map(({ error }) => (error as RealtimeError).code)).toEqual([
				'CALLBACK_TIMEOUT'
			]);
			if (end === 'ends') {
				finish('late');
				expect((await again).body).toMatchObject({ id: sent.id, result: 'late' });
				expect((await send(sent)).body).toMatchObject({ id: sent.id, result: 'late' });
				expect(heard).toMatchObject([{ id: sent.id, outcome: 'done', status: 200 }]);
				expect(failures).toHaveLength(1);
				return;
			}
			finish(Promise.reject(new Error('broken')));
			await eventually(() => heard.length > 0);
			expect(heard).toMatchObject([{ id: sent.id, outcome: 'failed', status: 500 }]);
			expect(failures[1]).toMatchObject({ eventId: sent.id, error: { message: 'broken' } });
			// It failed, so whoever asks again has it run again.
			await eventually(() => run.mock.calls.length === 2);
			finish('better');
			expect((await again).body).toMatchObject({ result: 'better' });
			expect(heard.map(({ outcome }) => outcome)).toEqual(['failed', 'done']);
		}
	);

	test('whose result cannot be recorded is heard of once, as failed', async () => {
		const server = new FakeServer();
		const backend = server.connect();
		const { send, heard } = await startSending(
			{ any: { event: anything, ...allowed, run: () => 1 } },
			{
				backend: {
					...backend,
					idempotency: {
						...backend.idempotency!,
						finish: () => Promise.reject(new RealtimeError('BACKEND', 'away'))
					}
				}
			}
		);
		expect((await send(event())).status).toBe(503);
		expect(heard).toMatchObject([{ outcome: 'failed', status: 503 }]);
	});

	test('emits and calls `once` after its answer as well, each under its own id', async () => {
		let release!: () => void;
		const late = new Promise<void>((resolve) => (release = resolve));
		let ended!: Promise<unknown>;
		const charge = vi.fn(() => 1);
		const { send, realtime } = await startSending({
			say: {
				event: say,
				...allowed,
				run({ emit, once }, { message }) {
					ended = late.then(async () => {
						await once('charge', charge);
						await emit(demoChannel().message, { message });
					});
					return { said: message };
				}
			}
		});
		const { body } = await send({ event: 'demo/say', id: 'late', data: { message: 'x' } });
		expect(body.emitted).toEqual([]);
		release();
		await ended;
		const { messages } = await realtime.history(demoChannel);
		expect(messages).toMatchObject([{ clientEventId: 'late', data: { message: 'x' } }]);
		expect(charge).toHaveBeenCalledTimes(1);
	});

	test('`once` of two senders, of two events and of the app never meet', async () => {
		const fn = vi.fn(() => fn.mock.calls.length);
		const { send, realtime } = await startSending({
			any: { event: anything, ...allowed, run: ({ once }) => once('k', fn) }
		});
		const sent = event();
		const results = [
			(await send(sent, { 'x-user': 'alice' })).body.result,
			(await send(sent, { 'x-user': 'bob' })).body.result,
			(await send(event(), { 'x-user': 'alice' })).body.result,
			await realtime.once('k', fn),
			await realtime.once('k', fn)
		];
		expect(results).toEqual([1, 2, 3, 4, 4]);
	});

	test.each([undefined, null, '', 7, {}])('`once` does not take %j for a key', async (key) => {
		const { realtime } = await startSending({ any: { event: anything, ...allowed } });
		const fn = vi.fn();
		await expect(realtime.once(key as never, fn)).rejects.toMatchObject({
			code: 'INVALID_OPTION'
		});
		expect(fn).not.toHaveBeenCalled();
	});
});

describe('many', () => {
	test('the rates of the endpoint and of an event count by cost, and per sender', async () => {
		const rate = { points: 4, intervalMs: 3_600_000 };
		const run = vi.fn(() => null);
		const { send } = await startSending(
			{
				cheap: { event: defineEvent('cheap', { schema: z.unknown() }), ...allowed, run, cost: 0 },
				dear: { event: defineEvent('dear', { schema: z.unknown() }), ...allowed, run, cost: 2 }
			},
			{ limits: { rate } }
		);
		const statuses = async (name: string, times: number, user: string): Promise<number[]> => {
			const all: number[] = [];
			for (let n = 0; n < times; n++) {
				const { status, headers } = await send({ event: name, id: newId() }, { 'x-user': user });
				all.push(status);
				if (status === 429) expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
			}
			return all;
		};
		expect(await statuses('dear', 3, 'alice')).toEqual([200, 200, 429]);
		expect(await statuses('cheap', 6, 'alice')).toEqual([200, 200, 200, 200, 200, 200]);
		expect(await statuses('dear', 1, 'bob')).toEqual([200]);
	});

	test('an id that comes to two processes, of which the first fails, runs in the second', async () => {
		const server = new FakeServer();
		const runs: string[] = [];
		const process = (name: string, result: () => unknown) =>
			startSending(
				{
					any: {
						event: anything,
						...allowed,
						async run() {
							runs.push(name);
							await new Promise((resolve) => setTimeout(resolve, 50));
							return result();
						}
					}
				},
				{ backend: server.connect() }
			);
		const one = await process('one', () => {
			throw new Error('no');
		});
		const two = await process('two', () => 'well');
		const sent = event();
		const first = one.send(sent);
		await eventually(() => runs.length === 1);
		const second = two.send(sent);
		expect((await first).status).toBe(500);
		expect((await second).body.result).toBe('well');
		expect(runs).toEqual(['one', 'two']);
		// Whoever asks the first again gets the answer of the second.
		expect((await one.send(sent)).body.result).toBe('well');
		expect([one.heard, two.heard].map((heard) => heard.map(({ outcome }) => outcome))).toEqual([
			['failed'],
			['done']
		]);
	});

	test('of two processes with one id at once, only the one that runs it is heard of', async () => {
		const server = new FakeServer();
		const run = vi.fn(async () => {
			await new Promise((resolve) => setTimeout(resolve, 50));
			return 'ran';
		});
		const process = () =>
			startSending({ any: { event: anything, ...allowed, run } }, { backend: server.connect() });
		const [one, two] = [await process(), await process()];
		const sent = event();
		const answers = await Promise.all([one, two, one, two].map(({ send }) => send(sent)));
		for (const { body } of answers) expect(body).toEqual(answers[0]!.body);
		expect(run).toHaveBeenCalledTimes(1);
		expect([...one.heard, ...two.heard]).toHaveLength(1);
	});
});

test('`retention` of a channel bounds what is kept of it', async () => {
	const { realtime } = await startSending(
		{ any: { event: anything, ...allowed } },
		{
			channels: {
				demo: {
					channel: demoChannel,
					authorize: () => true,
					source: false,
					retention: { maxEvents: 2 }
				}
			}
		}
	);
	for (const message of ['a', 'b', 'c']) await realtime.emit(demoChannel().message, { message });
	const { messages } = await realtime.history(demoChannel);
	expect(messages.map(({ data }) => data)).toEqual([{ message: 'b' }, { message: 'c' }]);
});
