import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { NonRetriableError, RetryAfterError } from 'inngest';
import type { InngestFunction } from 'inngest';
import { createClient, registerApp, serveApp, signal } from './support/app.js';
import type { TestApp, TestClient } from './support/app.js';
import { openEngine, unique } from './support/engine.js';
import type { TestEngine } from './support/engine.js';
import { TestSocket } from './support/socket.js';

let engine: TestEngine;
let client: TestClient;
let app: TestApp | undefined;
let event: string;

beforeAll(async () => {
	engine = await openEngine();
});
afterAll(() => engine.close());
beforeEach(() => {
	client = createClient(engine);
	event = unique('app/event');
});
afterEach(() => app?.close());

async function serve(...functions: InngestFunction.Any[]): Promise<void> {
	app = await serveApp(engine, client, functions);
	expect((await registerApp(app)).status).toBe(200);
}

it('runs a step once, whatever follows it', async () => {
	const done = signal<unknown>();
	const ran: string[] = [];
	await serve(
		client.createFunction({ id: 'fn' }, { event }, async ({ event, step }) => {
			const first = await step.run('first', () => {
				ran.push('first');
				return { n: (event.data as { n: number }).n + 1 };
			});
			await step.sleep('nap', '1s');
			const second = await step.run('second', () => {
				ran.push('second');
				return first.n + 1;
			});
			done.resolve({ first, second });
		})
	);
	const sentAt = Date.now();
	await client.send({ name: event, data: { n: 1 } });
	expect(await done.promise).toEqual({ first: { n: 2 }, second: 3 });
	expect(ran).toEqual(['first', 'second']);
	expect(Date.now() - sentAt).toBeGreaterThanOrEqual(1_000);
});

// The SDK's two ways to report parallel steps: after each of them, or after the last.
it.each([false, true])(
	'runs parallel steps once each (optimized: %s)',
	async (optimizeParallelism) => {
		const done = signal<unknown>();
		const ran: string[] = [];
		await serve(
			client.createFunction({ id: 'fn', optimizeParallelism }, { event }, async ({ step }) => {
				const results = await Promise.all([
					step.run('quick', () => ran.push('quick') && 'q'),
					step.run('slow', async () => {
						await new Promise((resolve) => setTimeout(resolve, 50));
						return ran.push('slow') && 's';
					}),
					step.sleep('nap', 100)
				]);
				const after = await step.run('after', () => ran.push('after'));
				done.resolve([...results.slice(0, 2), after]);
			})
		);
		await client.send({ name: event });
		expect(await done.promise).toEqual(['q', 's', 3]);
		expect([...ran].sort()).toEqual(['after', 'quick', 'slow']);
	}
);

it('repeats a failing step with attempts counted from 0', async () => {
	const done = signal<unknown>();
	const attempts: number[] = [];
	await serve(
		client.createFunction({ id: 'fn', retries: 2 }, { event }, async ({ step, attempt }) => {
			const result = await step.run('flaky', () => {
				attempts.push(attempt);
				if (attempts.length < 3) throw new RetryAfterError('not yet', '1s');
				return 'at last';
			});
			done.resolve(result);
		})
	);
	await client.send({ name: event });
	expect(await done.promise).toBe('at last');
	expect(attempts).toEqual([0, 1, 2]);
});

it("repeats the function's own code, too, and starts its attempts anew after a step", async () => {
	const done = signal<unknown>();
	const attempts: [string, number][] = [];
	await serve(
		client.createFunction({ id: 'fn', retries: 1 }, { event }, async ({ step, attempt }) => {
			await step.run('step', () => {
				attempts.push(['step', attempt]);
				if (attempt === 0) throw new RetryAfterError('not yet', '1s');
			});
			attempts.push(['code', attempt]);
			if (attempt === 0) throw new RetryAfterError('not yet', '1s');
			done.resolve(attempts);
		})
	);
	await client.send({ name: event });
	expect(await done.promise).toEqual([
		['step', 0],
		['step', 1],
		['code', 0],
		['code', 1]
	]);
});

it('remembers the steps that the SDK reports while it goes on', async () => {
	const done = signal<unknown>();
	const ran: string[] = [];
	await serve(
		client.createFunction(
			{ id: 'fn', retries: 1, checkpointing: true },
			{ event },
			async ({ step, attempt }) => {
				const one = await step.run('one', () => ran.push('one') && 1);
				const two = await step.run('two', () => ran.push('two') && one + 1);
				if (attempt === 0) throw new RetryAfterError('again', '1s');
				done.resolve([two, ...ran]);
			}
		)
	);
	await client.send({ name: event });
	expect(await done.promise).toEqual([2, 'one', 'two']);
});

it('throws the error of a step that is out of attempts into the function', async () => {
	const done = signal<unknown>();
	await serve(
		client.createFunction({ id: 'fn', retries: 0 }, { event }, async ({ step }) => {
			try {
				await step.run('hopeless', () => {
					throw new TypeError('it broke');
				});
			} catch (error) {
				const { message } = error as Error;
				done.resolve(await step.run('after', () => `caught: ${message}`));
			}
		})
	);
	await client.send({ name: event });
	expect(await done.promise).toBe('caught: it broke');
});

it('ends a run at once by a NonRetriableError and starts its onFailure function', async () => {
	const done = signal<unknown>();
	let calls = 0;
	const fn = client.createFunction(
		{
			id: 'fn',
			onFailure: ({ error, event, runId }) => {
				const { function_id, run_id, event: original } = event.data;
				done.resolve({ message: error.message, function_id, run_id, original, runId });
			}
		},
		{ event },
		() => {
			calls++;
			throw new NonRetriableError('never');
		}
	);
	const other = client.createFunction(
		{ id: 'other', onFailure: () => done.resolve('the wrong one') },
		{ event: unique('app/other') },
		() => {}
	);
	await serve(fn, other);
	await client.send({ name: event, data: { a: 1 } });
	const failure = (await done.promise) as Record<string, unknown>;
	expect(failure).toMatchObject({
		message: 'never',
		function_id: fn.id(client.id),
		original: { name: event, data: { a: 1 } }
	});
	expect(failure.run_id).toMatch(/^[0-9A-HJKMNP-TV-Z]{26}$/);
	expect(failure.runId).not.toBe(failure.run_id);
	expect(calls).toBe(1);
});

it('starts every function that an event matches, by its name or a prefix of it', async () => {
	const name = unique('shop');
	const starts = ['exact', 'slash', 'dot'].map((id) => ({ id, ...signal<string>() }));
	const [exact, slash, dot] = starts;
	const wrong = signal<string>();
	await serve(
		client.createFunction({ id: 'exact' }, { event: `${name}/order.paid` }, ({ runId }) =>
			exact!.resolve(runId)
		),
		client.createFunction({ id: 'slash' }, { event: `${name}/*` }, ({ runId }) =>
			slash!.resolve(runId)
		),
		client.createFunction({ id: 'dot' }, { event: `${name}/order.*` }, ({ runId }) =>
			dot!.resolve(runId)
		),
		client.createFunction({ id: 'wrong' }, { event: `${name}/order` }, () => wrong.resolve('wrong'))
	);
	await client.send({ name: `${name}/order.paid` });
	const runs = await Promise.race([
		wrong.promise,
		Promise.all(starts.map(({ promise }) => promise))
	]);
	expect(new Set(runs).size).toBe(3);
});

it('starts a function for an event of the same id once', async () => {
	const done = signal<unknown>();
	const ids: unknown[] = [];
	await serve(
		client.createFunction({ id: 'fn' }, { event }, ({ event }) => {
			ids.push(event.id);
			if ((event.data as { last?: boolean }).last) done.resolve(ids);
		})
	);
	const id = unique('id');
	await client.send({ name: event, id });
	await client.send({ name: event, id });
	await client.send({ name: event, data: { last: true } });
	await done.promise;
	expect(ids.filter((seen) => seen === id)).toHaveLength(1);
});

it('starts other functions by step.sendEvent, and waits for those of step.invoke', async () => {
	const done = signal<unknown>();
	const sent = signal<unknown>();
	const callee = client.createFunction(
		{ id: 'callee' },
		{ event: unique('app/callee') },
		async ({ event, step }) => step.run('double', () => (event.data as { n: number }).n * 2)
	);
	const fails = client.createFunction(
		{ id: 'fails', retries: 0 },
		{ event: unique('app/fails') },
		() => {
			throw new Error('callee broke');
		}
	);
	const other = unique('app/other');
	await serve(
		callee,
		fails,
		client.createFunction({ id: 'other' }, { event: other }, ({ event }) =>
			sent.resolve(event.data)
		),
		client.createFunction({ id: 'caller' }, { event }, async ({ step }) => {
			await step.sendEvent('tell', { name: other, data: { from: 'caller' } });
			const doubled = await step.invoke('call', { function: callee, data: { n: 21 } });
			const failure = await step
				.invoke('fail', { function: fails, data: {} })
				.catch((error: Error) => error.message);
			done.resolve({ doubled, failure });
		})
	);
	await client.send({ name: event });
	expect(await sent.promise).toEqual({ from: 'caller' });
	expect(await done.promise).toEqual({ doubled: 42, failure: 'callee broke' });
});

it('publishes from a function once, however often its code is run, and inside steps', async () => {
	const channel = unique('channel');
	const done = signal<string>();
	await serve(
		client.createFunction({ id: 'fn' }, { event }, async ({ publish, step, runId }) => {
			await publish({ channel, topic: 'progress', data: { percent: 50 } });
			await step.run('work', () => publish({ channel, topic: 'progress', data: 'inside' }));
			await publish({ channel, topic: 'progress', data: { percent: 100 } });
			done.resolve(runId);
		})
	);
	const socket = await TestSocket.open(engine, channel, ['progress']);
	await client.send({ name: event });
	const run_id = await done.promise;
	await socket.barrier();
	expect(await socket.received(3)).toMatchObject([
		{ kind: 'data', topic: 'progress', data: { percent: 50 }, run_id },
		{ data: 'inside', run_id },
		{ data: { percent: 100 }, run_id }
	]);
	expect(socket.frames).toHaveLength(3);
	await socket.close();
});

it('publishes a stream from a function piece by piece', async () => {
	const channel = unique('channel');
	await serve(
		client.createFunction({ id: 'fn' }, { event }, async ({ publish, step }) => {
			await step.run('tokens', async () => {
				const data = new ReadableStream({
					start(controller) {
						controller.enqueue(new TextEncoder().encode('Hello'));
						controller.close();
					}
				});
				await publish({ channel, topic: 'tokens', data });
			});
		})
	);
	const socket = await TestSocket.open(engine, channel, ['tokens']);
	await client.send({ name: event });
	const messages = await socket.received(3);
	expect(messages.map(({ kind }) => kind)).toEqual(['datastream-start', 'chunk', 'datastream-end']);
	expect(messages[1]).toMatchObject({ data: 'Hello', run_id: messages[0]!.run_id });
	await socket.close();
});

it('cancels runs by an event that matches theirs', async () => {
	const stop = unique('app/stop');
	const asleep = signal<void>();
	const cancelled = signal<unknown>();
	const fn = client.createFunction(
		{ id: 'fn', cancelOn: [{ event: stop, match: 'data.user' }] },
		{ event },
		async ({ step }) => {
			await step.run('before', () => asleep.resolve());
			await step.sleep('nap', '1h');
		}
	);
	await serve(
		fn,
		client.createFunction(
			{ id: 'observer' },
			{ event: 'inngest/function.cancelled' },
			({ event }) => {
				if (event.data.function_id === fn.id(client.id)) cancelled.resolve(event.data);
			}
		)
	);
	await client.send({ name: event, data: { user: 'alice' } });
	await asleep.promise;
	await client.send({ name: stop, data: { user: 'bob' } });
	await client.send({ name: stop, data: { user: 'alice' } });
	expect(await cancelled.promise).toMatchObject({ event: { data: { user: 'alice' } } });
});

it('replaces the functions of an app when it registers again', async () => {
	const done = signal<string>();
	const make = (answer: string): InngestFunction.Any =>
		client.createFunction({ id: answer }, { event }, () => done.resolve(answer));
	await serve(make('old'));
	await app!.close();
	await serve(make('new'));
	await client.send({ name: event });
	expect(await done.promise).toBe('new');
});
