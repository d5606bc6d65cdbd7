import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { InngestFunction } from 'inngest';
import { startInngestDev } from '../../../src/lib/dev/index.js';
import type { InngestDev } from '../../../src/lib/dev/index.js';
import { createClient, registerApp, serveApp, signal } from './support/app.js';
import type { TestApp, TestClient } from './support/app.js';
import { sendEvents } from './support/engine.js';

const logger = { info: vi.fn(), warn: vi.fn(), error: vi.fn() };
let dev: InngestDev;
let client: TestClient;
let app: TestApp | undefined;

beforeEach(async () => {
	vi.clearAllMocks();
	dev = await startInngestDev({ logger });
	client = createClient(dev);
});
afterEach(async () => {
	vi.useRealTimers();
	await app?.close();
	app = undefined;
	await dev.close();
});

async function serve(...functions: InngestFunction.Any[]): Promise<Response> {
	app = await serveApp(dev, client, functions);
	return registerApp(app);
}

const texts = (log: typeof logger.warn): string[] => log.mock.calls.map(([text]) => String(text));
const started = (): string[] =>
	dev.runs.map(({ functionId }) => functionId.slice(client.id.length + 1)).sort();

it('starts a function where its expression is true for the event, and only there', async () => {
	const conditions = {
		greater: 'event.data.n > 3',
		both: "event.data.s == 'x' && event.data.n == 1",
		one: "event.data.s == 'y' || event.data.n == 1",
		prefix: "event.data.s.startsWith('x')",
		listed: "event.data.s in ['x', 'z']",
		some: "event.data.tags.exists(tag, tag == 'a')",
		present: 'has(event.data.s)',
		absent: 'event.data.missing == null',
		either: '!(event.data.n > 3) && (event.data.missing || event.data.ok)'
	};
	const functions = Object.entries(conditions).map(([id, condition]) =>
		client.createFunction({ id }, { event: 'a', if: condition }, () => {})
	);
	expect((await serve(...functions)).status).toBe(200);
	await dev.send({ name: 'a', data: { n: 1, s: 'x', tags: ['a'], ok: true } });
	expect(started()).toEqual(
		['absent', 'both', 'either', 'listed', 'one', 'prefix', 'present', 'some'].sort()
	);
	await dev.send({ name: 'a', data: { n: 5 } });
	expect(started().filter((id) => id === 'greater')).toEqual(['greater']);
	expect(started().filter((id) => id === 'both')).toEqual(['both']);
	expect(logger.warn).not.toHaveBeenCalled();
});

it('says which value an expression gave where that is neither true nor false', async () => {
	await serve(client.createFunction({ id: 'fn' }, { event: 'a', if: 'event.data.name' }, () => {}));
	await dev.send([
		{ name: 'a', data: { name: 'alice' } },
		{ name: 'a', data: { name: 'alice' } },
		{ name: 'a', data: {} },
		{ name: 'a', data: { name: true } }
	]);
	expect(started()).toEqual(['fn']);
	expect(texts(logger.warn)).toEqual([expect.stringContaining('gave "alice" for the event "a"')]);
});

it('keeps control characters of events out of the log', async () => {
	await serve(client.createFunction({ id: 'fn' }, { event: 'a/*', if: 'event.name' }, () => {}));
	await dev.send({ name: 'a/\u001b[2Jgone\u202e\nnext' });
	expect(texts(logger.warn)).toEqual([
		expect.stringContaining('event "a/\\u001b[2Jgone\\u202e next"')
	]);
});

it.each<[string, (fn: TestClient) => InngestFunction.Any, string]>([
	[
		'an expression',
		(c) => c.createFunction({ id: 'fn' }, { event: 'a', if: 'event.data. ==' }, () => {}),
		'event.data. =='
	],
	[
		'a variable',
		(c) => c.createFunction({ id: 'fn' }, { event: 'a', if: 'data.n == 1' }, () => {}),
		'there is no variable data'
	],
	[
		'a function',
		(c) =>
			c.createFunction({ id: 'fn' }, { event: 'a', if: 'length(event.data.n) == 1' }, () => {}),
		'length()'
	],
	[
		'a number',
		(c) =>
			c.createFunction(
				{ id: 'fn' },
				{ event: 'a', if: 'event.data.n == 12345678901234567890' },
				() => {}
			),
		'12345678901234567890'
	],
	[
		'a cron schedule',
		(c) => c.createFunction({ id: 'fn' }, { cron: 'not a cron' }, () => {}),
		'five fields'
	],
	[
		'a cancelOn',
		(c) =>
			c.createFunction(
				{ id: 'fn', cancelOn: [{ event: 'b', if: 'async.data.n ==' }] },
				{ event: 'a' },
				() => {}
			),
		'async.data.n =='
	],
	[
		'a function call in cancelOn',
		(c) =>
			c.createFunction(
				{ id: 'fn', cancelOn: [{ event: 'b', if: 'has(async.data.n)' }] },
				{ event: 'a' },
				() => {}
			),
		'has() is not allowed here'
	],
	[
		'a period',
		(c) =>
			c.createFunction({ id: 'fn', debounce: { period: 'xx' as '1s' } }, { event: 'a' }, () => {}),
		'not a duration'
	],
	[
		'a priority',
		(c) => c.createFunction({ id: 'fn', priority: { run: 'data.p' } }, { event: 'a' }, () => {}),
		'there is no variable data'
	],
	[
		'a key of concurrency',
		(c) =>
			c.createFunction(
				{ id: 'fn', concurrency: { limit: 1, key: 'event.data. ' } },
				{ event: 'a' },
				() => {}
			),
		'event.data. '
	],
	[
		'two triggers that are the same',
		(c) => c.createFunction({ id: 'fn' }, [{ event: 'a' }, { event: 'a' }], () => {}),
		'occurs twice'
	]
])(
	'answers 400 to a registration with %s that is not valid, and logs why',
	async (_what, make, why) => {
		const response = await serve(make(client));
		expect(response.status).toBe(400);
		expect(await response.json()).toMatchObject({ message: 'At least one function is invalid' });
		await registerApp(app!);
		expect(texts(logger.error)).toEqual([expect.stringContaining(why)]);
		expect(texts(logger.error)[0]).toContain(`"${client.id}-fn"`);
		await dev.send({ name: 'a', data: { n: 1 } });
		expect(dev.runs).toEqual([]);
	}
);

it('starts a function by its cron schedule, once each time, however often it registers', async () => {
	vi.useFakeTimers({
		toFake: ['setTimeout', 'clearTimeout', 'Date'],
		shouldAdvanceTime: true,
		now: Date.parse('2026-11-27T10:30:30Z')
	});
	const first = signal<unknown>();
	const second = signal<unknown>();
	const times: unknown[] = [];
	await serve(
		client.createFunction({ id: 'fn' }, { cron: 'TZ=Europe/Berlin */5 * * * *' }, ({ event }) => {
			const { name, data, ts } = event as { name: string; data: object; ts: number };
			times.push({ name, ...data, ts: new Date(ts).toISOString() });
			(times.length === 1 ? first : second).resolve(undefined);
		})
	);
	vi.advanceTimersByTime(4 * 60_000);
	expect(dev.runs).toEqual([]);
	await registerApp(app!);
	vi.advanceTimersByTime(60_000);
	await first.promise;
	vi.advanceTimersByTime(5 * 60_000);
	await second.promise;
	const at = (time: string): unknown => ({
		name: 'inngest/scheduled.timer',
		cron: 'TZ=Europe/Berlin */5 * * * *',
		scheduledAt: `2026-11-27T${time}Z`,
		fireAt: `2026-11-27T${time}Z`,
		ts: `2026-11-27T${time}.000Z`
	});
	expect(times).toEqual([at('10:35:00'), at('10:40:00')]);
	await registerApp(app!);
	expect(dev.runs).toHaveLength(2);
});

it('forgets the schedules of functions that are gone', async () => {
	vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'], shouldAdvanceTime: true });
	await serve(client.createFunction({ id: 'fn' }, { cron: '* * * * *' }, () => {}));
	await app!.close();
	await serve();
	vi.advanceTimersByTime(5 * 60_000);
	expect(dev.runs).toEqual([]);
});

it('starts a run at the time of its event where that is in the future', async () => {
	const done = signal<number>();
	await serve(client.createFunction({ id: 'fn' }, { event: 'a' }, () => done.resolve(Date.now())));
	const ts = Date.now() + 1_500;
	await dev.send({ name: 'a', data: {}, ts });
	await dev.send({ name: 'b', data: {} });
	expect(dev.runs).toMatchObject([{ status: 'Queued' }]);
	expect(await done.promise).toBeGreaterThanOrEqual(ts);
});

it('cancels a run that has not started yet', async () => {
	await serve(
		client.createFunction({ id: 'fn', cancelOn: [{ event: 'stop' }] }, { event: 'a' }, () => {})
	);
	await dev.send({ name: 'a', ts: Date.now() + 60_000 });
	await dev.send({ name: 'stop' });
	expect(dev.runs).toMatchObject([{ status: 'Cancelled' }]);
});

it('keeps that an event came without data, and lets expressions look into it', async () => {
	const seen = signal<unknown>();
	await serve(
		client.createFunction(
			{ id: 'fn' },
			{ event: 'a', if: 'event.data.missing == null' },
			({ event }) => seen.resolve({ data: event.data as unknown, user: event.user as unknown })
		)
	);
	await sendEvents(dev, '{"name":"a"}');
	expect(await seen.promise).toEqual({ data: null, user: {} });
});

it('cancels by an expression of several parts, and not after the timeout of cancelOn', async () => {
	const cancelOn = [
		{ event: 'stop', if: 'async.data.id == event.data.id && async.data.sure == true' }
	];
	await serve(
		client.createFunction({ id: 'fn', cancelOn }, { event: 'a' }, ({ step }) =>
			step.sleep('nap', '1h')
		),
		client.createFunction(
			{ id: 'late', cancelOn: [{ event: 'stop', timeout: '1s' }] },
			{ event: 'b' },
			({ step }) => step.sleep('nap', '1h')
		)
	);
	await dev.send([{ name: 'a', data: { id: 1 } }, { name: 'b' }]);
	const status = (): string[] => dev.runs.map(({ status }) => status);
	await vi.waitFor(() => expect(status()).toEqual(['Running', 'Running']), 20_000);
	vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 2_000 });
	await dev.send([
		{ name: 'stop', data: { id: 1 } },
		{ name: 'stop', data: { id: 2, sure: true } }
	]);
	expect(status()).toEqual(['Running', 'Running']);
	await dev.send({ name: 'stop', data: { id: 1, sure: true } });
	expect(status()).toEqual(['Cancelled', 'Running']);
});
