import { afterEach, beforeEach, expect, it } from 'vitest';
import type { InngestFunction } from 'inngest';
import { demoChannel } from '../../support/channels.js';
import { startWorld } from '../../support/world.js';
import type { World } from '../../support/world.js';
import { createClient, registerApp, serveApp, signal } from './support/app.js';
import type { TestApp, TestClient } from './support/app.js';
import { unique } from './support/engine.js';
import { TestSocket } from './support/socket.js';

let world: World;
let client: TestClient;
let app: TestApp | undefined;
let socket: TestSocket | undefined;
let channel: string;

beforeEach(async () => {
	world = await startWorld({
		channels: { demo: { channel: demoChannel, authorize: () => true, run: true } }
	});
	client = createClient(world.engine);
	channel = unique('channel');
});
afterEach(async () => {
	socket?.socket.terminate();
	socket = undefined;
	await app?.close();
	await world.close();
});

async function serve(...functions: InngestFunction.Any[]): Promise<void> {
	app = await serveApp(world.engine, client, functions);
	await registerApp(app);
}

it('says that a run goes on before its first message, and how it ended', async () => {
	await serve(
		client.createFunction({ id: 'fn' }, { event: 'a' }, async ({ publish, step }) => {
			await publish({ channel, topic: 'progress', data: 1 });
			await step.run('work', () => publish({ channel, topic: 'progress', data: 2 }));
			return { total: 2 };
		})
	);
	socket = await TestSocket.open(world.engine, channel, ['progress', '$run']);
	await world.engine.send({ name: 'a' });
	const messages = await socket.received(4);
	const run_id = world.engine.runs[0]!.id;
	expect(messages).toMatchObject([
		{ kind: 'run', topic: '$run', channel, run_id, data: { status: 'running' } },
		{ kind: 'data', topic: 'progress', run_id, data: 1 },
		{ kind: 'data', topic: 'progress', run_id, data: 2 },
		{ kind: 'run', topic: '$run', channel, run_id }
	]);
	expect(messages[3]!.data).toEqual({ status: 'completed', result: { total: 2 } });
});

it('tells failed runs from cancelled ones', async () => {
	const published = signal<void>();
	await serve(
		client.createFunction({ id: 'fails', retries: 0 }, { event: 'a' }, async ({ publish }) => {
			await publish({ channel, topic: 'progress', data: 1 });
			throw new TypeError('broken');
		}),
		client.createFunction(
			{ id: 'cancelled', cancelOn: [{ event: 'stop' }] },
			{ event: 'b' },
			async ({ publish, step }) => {
				await publish({ channel, topic: 'progress', data: 1 });
				published.resolve();
				await step.sleep('nap', '1h');
			}
		)
	);
	socket = await TestSocket.open(world.engine, channel, ['$run']);
	await world.engine.send({ name: 'a' });
	await socket.received(2);
	await world.engine.send({ name: 'b' });
	await published.promise;
	await world.engine.send({ name: 'stop' });
	expect((await socket.received(4)).map(({ data }) => data)).toEqual([
		{ status: 'running' },
		{ status: 'failed', error: { name: 'TypeError', message: 'broken' } },
		{ status: 'running' },
		{ status: 'cancelled' }
	]);
});

it("publishes on the channel of the run's id, too", async () => {
	const started = signal<string>();
	const go = signal<void>();
	await serve(
		client.createFunction({ id: 'fn' }, { event: 'a' }, async ({ runId }) => {
			started.resolve(runId);
			await go.promise;
			return 'done';
		})
	);
	await world.engine.send({ name: 'a' });
	socket = await TestSocket.open(world.engine, await started.promise, ['$run']);
	go.resolve();
	expect(await socket.received(1)).toMatchObject([
		{ data: { status: 'completed', result: 'done' } }
	]);
});

it('leaves out a result that is larger than a message', async () => {
	await serve(
		client.createFunction({ id: 'fn' }, { event: 'a' }, async ({ publish }) => {
			await publish({ channel, topic: 'progress', data: 1 });
			return 'x'.repeat(600_000);
		})
	);
	socket = await TestSocket.open(world.engine, channel, ['$run']);
	await world.engine.send({ name: 'a' });
	expect((await socket.received(2))[1]!.data).toEqual({ status: 'completed' });
});

it('reaches readers of the endpoint as getRealtimeBusRun() reads it', async () => {
	await serve(
		client.createFunction({ id: 'fn' }, { event: 'a' }, async ({ publish }) => {
			await publish(demoChannel().message({ message: 'working' }));
			return { total: 7 };
		})
	);
	const reader = await world.open({ channel: 'demo', topics: ['message', '$run'] });
	await reader.connected();
	await world.engine.send({ name: 'a' });
	const runId = world.engine.runs[0]!.id;
	await reader.when(() => reader.messages.length === 3);
	expect(reader.messages).toMatchObject([
		{ kind: 'run', topic: '$run', runId, data: { status: 'running' } },
		{ kind: 'data', topic: 'message', runId, data: { message: 'working' } },
		{ kind: 'run', topic: '$run', runId, data: { status: 'completed', result: { total: 7 } } }
	]);
});
