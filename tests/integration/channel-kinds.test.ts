import { channel, topic, typeOnlyChannel } from '@inngest/realtime';
import { afterEach, expect, test } from 'vitest';
import type { demoChannel } from '../support/channels.js';
import { startWorld, type World } from '../support/world.js';

const typed = typeOnlyChannel<typeof demoChannel>('demo');
const seat = channel((hall: string, row: number) => `seat:${hall}:${row}`).addTopic(
	topic('taken').type<boolean>()
);
const pipeline = channel(({ runId }: { runId: string }) => `pipeline:${runId}`).addTopic(
	topic('status').type<{ done: boolean }>()
);

let world: World;
afterEach(() => world.close());

test('parameters of a builder may be several arguments, or an object', async () => {
	world = await startWorld({
		channels: {
			seat: {
				channel: seat,
				channelParams: (_event, id) => {
					const [, hall = '', row] = id.split(':');
					return [hall, Number(row)] as const;
				},
				authorize: () => true
			},
			pipeline: {
				channel: pipeline,
				channelParams: (_event, id) => ({ runId: id.slice('pipeline:'.length) }),
				authorize: () => true
			}
		}
	});
	const stream = await world.open({
		subscriptions: [{ channel: 'seat:main:7' }, { channel: 'pipeline:r1' }]
	});
	await stream.connected('seat:main:7');
	await stream.connected('pipeline:r1');
	await world.realtime.publish(seat('main', 7).taken, true);
	await world.realtime.publish(pipeline({ runId: 'r1' }).status, { done: false });
	await stream.when(() => stream.messages.length === 2);
	expect(stream.messages.map(({ data }) => data)).toEqual([true, { done: false }]);
});

test('a channel that has its name already needs no parameters', async () => {
	world = await startWorld({
		channels: { seat: { channel: seat('main', 1), authorize: () => true } }
	});
	const stream = await world.open({ channel: 'seat:main:1' });
	await stream.connected();
	await world.publish('seat:main:1', 'taken', false);
	await stream.when(() => stream.messages.length === 1);
	expect(stream.messages[0]?.data).toBe(false);
});

test('a channel of types alone asks Inngest for what is allowed, not for what is wished', async () => {
	world = await startWorld({
		channels: { demo: { channel: typed, authorize: () => ({ allowedTopics: ['message'] }) } }
	});
	for (const wish of ['admin-message', 'secret']) {
		const stream = await world.open({ channel: 'demo', topics: ['message', wish] });
		await stream.connected();
	}
	expect(world.realtime.stats().hub.feeds).toBe(1);
});

test('a channel of types alone serves the topics that are asked for, unvalidated', async () => {
	world = await startWorld({ channels: { demo: { channel: typed, authorize: () => true } } });
	const { status, body } = await world.post({ channel: 'demo' });
	expect(status).toBe(400);
	expect(body.error).toContain('lists no topics');
	const stream = await world.open({ channel: 'demo', topics: ['message'] });
	await stream.connected();
	await world.publish('demo', 'message', { message: 7 });
	await stream.when(() => stream.messages.length === 1);
	expect(stream.messages[0]?.data).toEqual({ message: 7 });
});
