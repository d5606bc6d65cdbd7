import { afterEach, expect, test } from 'vitest';
import { demoChannel, userChannel } from '../support/channels.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(() => world.close());

const channels = {
	demo: { channel: demoChannel, authorize: () => true },
	user: {
		channel: userChannel,
		channelParams: (_event: unknown, id: string) => (id.startsWith('user:') ? id.slice(5) : ''),
		authorize: () => true
	}
};

test('a published message reaches a stream, in the order of health and with its cursor', async () => {
	world = await startWorld({ channels });
	const stream = await world.open({ channel: 'demo' });
	await stream.connected();
	await world.publish('demo', 'message', { message: 'one' });
	await world.publish('demo', 'message', { message: 'one' });
	await stream.when(() => stream.messages.length === 2);
	expect(stream.statuses).toEqual(['connecting', 'connected']);
	expect(stream.messages[0]).toMatchObject({
		channel: 'demo',
		topic: 'message',
		kind: 'data',
		data: { message: 'one' }
	});
	const ids = stream.frames.filter(({ event }) => event === 'message').map(({ id }) => id);
	expect(ids[0]).toMatch(/-1$/);
	expect(ids[1]).toMatch(/-2$/);
});

test('one stream carries several channels over one upstream socket', async () => {
	world = await startWorld({ channels });
	const stream = await world.open({
		subscriptions: [{ channel: 'demo' }, { channel: 'user:alice' }]
	});
	await stream.connected('demo');
	await stream.connected('user:alice');
	await world.publish('user:alice', 'message', { message: 'hi alice' });
	await world.publish('demo', 'admin-message', { message: 'hi admin' });
	await stream.when(() => stream.messages.length === 2);
	expect(world.realtime.stats()).toMatchObject({
		streams: 1,
		hub: { feeds: 2, sources: { inngest: { state: 'open', sockets: 1 } } }
	});
});

test('a reader that comes back with its cursor gets what it missed, once', async () => {
	world = await startWorld({ channels });
	const first = await world.open({ channel: 'demo' });
	await first.connected();
	await world.publish('demo', 'message', { message: '1' });
	await first.when(() => first.messages.length === 1);
	const lastEventId = first.lastId;
	first.close();
	await world.publish('demo', 'message', { message: '2' });
	await world.publish('demo', 'message', { message: '3' });
	const second = await world.open({ channel: 'demo', lastEventId });
	await second.connected();
	await world.publish('demo', 'message', { message: '4' });
	await second.when(() => second.messages.length === 3);
	expect(second.messages.map(({ data }) => (data as { message: string }).message)).toEqual([
		'2',
		'3',
		'4'
	]);
});
