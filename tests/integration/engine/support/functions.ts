import { createServer } from 'node:http';
import type { RequestListener, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { startInngestDev } from '../../../../src/lib/dev/index.js';
import type { DevRun, InngestDev } from '../../../../src/lib/dev/index.js';

export const silent = { info() {}, warn() {}, error() {}, debug() {} };

/** What both generations of the SDK give to functions. */
interface Input {
	event: { name: string; data: Record<string, unknown> };
	attempt: number;
	step: {
		run<T>(id: string, work: () => T | Promise<T>): Promise<T>;
		sleep(id: string, duration: string | number): Promise<void>;
		waitForEvent(id: string, options: object): Promise<{ data: unknown } | null>;
		invoke(id: string, options: object): Promise<unknown>;
	};
}

/** A function under test, as both generations can have it. */
export interface Fn {
	id: string;
	options?: object;
	trigger?: { event: string; if?: string } | { cron: string };
	run(input: Input): unknown;
}

/** A generation of the SDK. Two of them do not run in one process: they share global state. */
export interface Sdk {
	serve(engineUrl: string, functions: Fn[]): RequestListener;
	NonRetriableError: new (message: string) => Error;
}

/** What the engine does with either generation of the SDK. */
export function testFunctions({ serve, NonRetriableError }: Sdk): void {
	let dev: InngestDev;
	let app: Server;

	beforeEach(async () => {
		dev = await startInngestDev({ logger: silent });
	});
	afterEach(async () => {
		app.close();
		app.closeAllConnections();
		await dev.close();
	});

	/** Serves functions, and answers the status of their registration. */
	async function register(...functions: Fn[]): Promise<number> {
		app = createServer(serve(dev.url, functions));
		await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve));
		const { port } = app.address() as AddressInfo;
		const url = `http://127.0.0.1:${port}/api/inngest`;
		const headers = { 'content-type': 'application/json' };
		return (await fetch(url, { method: 'PUT', body: '{}', headers })).status;
	}

	/** Sends an event, and answers the run that it starts once that has ended. */
	async function run(data: Record<string, unknown> = {}, name = 'a'): Promise<DevRun> {
		const [id] = await dev.send({ name, data });
		return vi.waitUntil(() => dev.runs.find((run) => run.eventId === id && run.endedAt), 8_000);
	}

	it.each([
		['an object', { a: 1 }, { a: 1 }],
		['a text', 'x', 'x'],
		['nothing', undefined, null],
		['a date', new Date(0), '1970-01-01T00:00:00.000Z'],
		['a list with holes', [1, undefined], [1, null]],
		[
			'what looks like an error',
			{ error: 'no', data: { data: 1 } },
			{ error: 'no', data: { data: 1 } }
		]
	])('gives %s that a function or step returns', async (_what, value, output) => {
		await register(
			{ id: 'plain', run: () => value },
			{ id: 'step', trigger: { event: 'b' }, run: ({ step }) => step.run('s', () => value) }
		);
		expect(await run()).toMatchObject({ status: 'Completed', output });
		expect(await run({}, 'b')).toMatchObject({ status: 'Completed', output });
	});

	it.each([
		['an error', new TypeError('broken'), { name: 'TypeError', message: 'broken' }],
		['an error that is final', new NonRetriableError('never'), { message: 'never' }],
		['a text', 'text', { name: 'Error', message: 'text' }],
		['a number', 7, { name: 'Error', message: '7' }]
	])('gives %s that a function throws', async (_what, thrown, expected) => {
		await register({
			id: 'fn',
			run: () => {
				throw thrown;
			}
		});
		const { id, status } = await run();
		expect(status).toBe('Failed');
		const response = await fetch(`${dev.url}/v1/runs/${id}`);
		const { data } = (await response.json()) as { data: { output: object } };
		expect(data.output).toMatchObject({ __serialized: true, ...expected });
		expect(data.output).not.toHaveProperty('error');
	});

	it('retries, sleeps, runs steps at once, and goes on after a step that failed', async () => {
		const attempts: number[] = [];
		await register({
			id: 'fn',
			options: { retries: 1 },
			run: async ({ step, attempt }) => {
				const both = await Promise.all([step.run('a', () => 1), step.run('b', () => 2)]);
				await step.sleep('nap', '1s');
				const flaky = await step.run('flaky', () => {
					attempts.push(attempt);
					if (attempts.length < 2) throw new Error('once');
					return 'at last';
				});
				const caught = await step
					.run('bad', () => {
						throw new NonRetriableError('bad');
					})
					.catch((error: Error) => error.message);
				return [both, flaky, caught];
			}
		});
		expect((await run()).output).toEqual([[1, 2], 'at last', 'bad']);
		expect(attempts).toHaveLength(2);
	});

	it('waits for an event, in vain or not', async () => {
		let waiting!: () => void;
		const started = new Promise<void>((resolve) => (waiting = resolve));
		await register({
			id: 'fn',
			run: async ({ step }) => {
				await step.run('before', () => waiting());
				const got = await step.waitForEvent('one', { event: 'b', timeout: '1m', match: 'data.k' });
				const none = await step.waitForEvent('two', { event: 'c', timeout: '1s' });
				return [got?.data, none];
			}
		});
		const ended = run({ k: 1 });
		await started;
		await new Promise((resolve) => setTimeout(resolve, 1_000));
		await dev.send([
			{ name: 'b', data: { k: 2 } },
			{ name: 'b', data: { k: 1, x: 'y' } }
		]);
		expect(await ended).toMatchObject({ status: 'Completed', output: [{ k: 1, x: 'y' }, null] });
	});

	it.each([
		['event.data.n > 3', 200, [false, true]],
		["event.data.s == 'x' && event.data.n == 1", 200, [true, false]],
		["event.data.s in ['x', 'y']", 200, [true, true]],
		['event.data.missing == null', 200, [true, true]],
		["event.data.list.exists(i, i == 'a')", 200, [true, false]],
		['event.data. ==', 400, [false, false]],
		['nonsense == 1', 400, [false, false]]
	])('starts a function if %s', async (condition, status, starts) => {
		expect(
			await register({ id: 'fn', trigger: { event: 'a', if: condition }, run: () => {} })
		).toBe(status);
		const events = [
			{ n: 1, s: 'x', list: ['a'] },
			{ n: 5, s: 'y' }
		];
		for (const [at, data] of events.entries()) {
			const [id] = await dev.send({ name: 'a', data });
			expect(
				dev.runs.some(({ eventId }) => eventId === id),
				JSON.stringify(data)
			).toBe(starts[at]);
		}
	});

	it.each([
		['a cron schedule', { trigger: { cron: '0 0 1 1 *' } }, 200],
		['a bad cron schedule', { trigger: { cron: 'not a cron' } }, 400],
		['a bad period', { options: { debounce: { period: 'xx' } } }, 400],
		['a limit that it does without', { options: { concurrency: 1 } }, 200],
		['batches', { options: { batchEvents: { maxSize: 3, timeout: '3s' } } }, 400]
	])('answers a registration with %s', async (_what, fn, status) => {
		expect(await register({ id: 'fn', run: () => {}, ...fn })).toBe(status);
	});
}
