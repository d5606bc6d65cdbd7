import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { InngestFunction } from 'inngest';
import { createClient, registerApp, serveApp, signal } from './support/app.js';
import type { TestApp, TestClient } from './support/app.js';
import { openEngine, unique } from './support/engine.js';
import type { TestEngine } from './support/engine.js';

let engine: TestEngine;
let client: TestClient;
let app: TestApp | undefined;
let event: string;
let answer: string;

beforeAll(async () => {
	engine = await openEngine();
});
afterAll(() => engine.close());
beforeEach(() => {
	client = createClient(engine);
	event = unique('app/event');
	answer = unique('app/answer');
});
afterEach(() => app?.close());

async function serve(...functions: InngestFunction.Any[]): Promise<void> {
	app = await serveApp(engine, client, functions);
	expect((await registerApp(app)).status).toBe(200);
}

/** Sends the event of a run until a step of it says that it is about to wait. */
async function start(waiting: Promise<void>, data = {}): Promise<void> {
	await client.send({ name: event, data });
	await waiting;
	// The step waits as soon as the engine has read the app's answer.
	await new Promise((resolve) => setTimeout(resolve, 1_000));
}

it('resumes a step with the event that matches, and with no other', async () => {
	const waiting = signal<void>();
	const done = signal<unknown>();
	await serve(
		client.createFunction({ id: 'fn' }, { event }, async ({ step }) => {
			await step.run('before', () => waiting.resolve());
			const got = await step.waitForEvent('wait', {
				event: answer,
				timeout: '1m',
				match: 'data.k'
			});
			done.resolve(
				await step.run('after', () => ({ name: got?.name, data: got?.data as unknown }))
			);
		})
	);
	await start(waiting.promise, { k: 1 });
	await client.send({ name: answer, data: { k: 2 } });
	await client.send({ name: unique('app/else'), data: { k: 1 } });
	await client.send({ name: answer, data: { k: 1, x: 'y' } });
	await client.send({ name: answer, data: { k: 1, x: 'too late' } });
	expect(await done.promise).toEqual({ name: answer, data: { k: 1, x: 'y' } });
});

it('gives null when the time is over, and does not hear what comes later', async () => {
	const done = signal<unknown>();
	await serve(
		client.createFunction({ id: 'fn' }, { event }, async ({ step }) => {
			const got = await step.waitForEvent('wait', { event: answer, timeout: '1s' });
			await step.sleep('nap', '1s');
			done.resolve([got, await step.run('after', () => 'went on')]);
		})
	);
	await client.send({ name: event });
	await new Promise((resolve) => setTimeout(resolve, 1_300));
	await client.send({ name: answer });
	expect(await done.promise).toEqual([null, 'went on']);
});

it('evaluates the condition with both events', async () => {
	const waiting = signal<void>();
	const done = signal<unknown>();
	await serve(
		client.createFunction({ id: 'fn' }, { event }, async ({ step }) => {
			await step.run('before', () => waiting.resolve());
			const got = await step.waitForEvent('wait', {
				event: answer,
				timeout: '1m',
				if: "async.data.total >= event.data.total && async.data.state in ['paid', 'free']"
			});
			done.resolve(got?.data);
		})
	);
	await start(waiting.promise, { total: 5 });
	await client.send({ name: answer, data: { total: 4, state: 'paid' } });
	await client.send({ name: answer, data: { total: 5, state: 'open' } });
	await client.send({ name: answer, data: { total: 6, state: 'free' } });
	expect(await done.promise).toEqual({ total: 6, state: 'free' });
});

it('waits for several events at once, beside other steps', async () => {
	const waiting = signal<void>();
	const done = signal<unknown>();
	await serve(
		client.createFunction({ id: 'fn' }, { event }, async ({ step }) => {
			await step.run('before', () => waiting.resolve());
			const all = await Promise.all([
				step.waitForEvent('one', { event: `${answer}/1`, timeout: '1m' }),
				step.waitForEvent('two', { event: `${answer}/2`, timeout: '1m' }),
				step.run('three', () => 3)
			]);
			done.resolve(all.map((each) => (typeof each === 'number' ? each : (each?.data as unknown))));
		})
	);
	await start(waiting.promise);
	await client.send({ name: `${answer}/2`, data: { n: 2 } });
	await client.send({ name: `${answer}/1`, data: { n: 1 } });
	expect(await done.promise).toEqual([{ n: 1 }, { n: 2 }, 3]);
});

it('lets an event resume all steps that wait for it', async () => {
	const waiting = [signal<void>(), signal<void>()];
	const done = [signal<unknown>(), signal<unknown>()];
	await serve(
		client.createFunction({ id: 'fn' }, { event }, async ({ event, step }) => {
			const { at } = event.data as { at: number };
			await step.run('before', () => waiting[at]!.resolve());
			const got = await step.waitForEvent('wait', { event: answer, timeout: '1m' });
			done[at]!.resolve(got?.data);
		})
	);
	await client.send({ name: event, data: { at: 0 } });
	await start(
		Promise.all(waiting.map(({ promise }) => promise)).then(() => {}),
		{ at: 1 }
	);
	await client.send({ name: answer, data: { ok: true } });
	expect(await Promise.all(done.map(({ promise }) => promise))).toEqual([
		{ ok: true },
		{ ok: true }
	]);
});

it('fails a run whose condition is not valid, and says why', async () => {
	const failed = signal<string>();
	await serve(
		client.createFunction(
			{ id: 'fn', retries: 0, onFailure: ({ error }) => failed.resolve(error.message) },
			{ event },
			async ({ step }) => {
				await step.waitForEvent('wait', { event: answer, timeout: '1m', if: 'async.data. ==' });
			}
		)
	);
	await client.send({ name: event });
	expect(await failed.promise).toMatch(/expression/i);
});
