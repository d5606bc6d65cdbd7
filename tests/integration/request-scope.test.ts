import { afterEach, expect, test } from 'vitest';
import { demoChannel, userChannel } from '../support/channels.js';
import { eventually } from '../support/wait.js';
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

test('with `scope: request` each stream has a socket of its own, for all of its channels', async () => {
	world = await startWorld({ channels, scope: 'request' });
	const [one, other] = [
		await world.open({ subscriptions: [{ channel: 'demo' }, { channel: 'user:alice' }] }),
		await world.open({ channel: 'demo' })
	];
	await one.connected('demo');
	await one.connected('user:alice');
	await other.connected();
	expect(world.engine.sockets).toBe(2);
	expect(world.realtime.stats()).toMatchObject({
		streams: 2,
		hub: { feeds: 3, sources: { inngest: { state: 'open', sockets: 2 } } }
	});
	await world.publish('demo', 'message', { message: 'both' });
	await one.when(() => one.texts.length === 1);
	await other.when(() => other.texts.length === 1);
	one.close();
	await eventually(() => world.engine.sockets === 1);
	await world.publish('demo', 'message', { message: 'the other' });
	await other.when(() => other.texts.length === 2);
	world.realtime.close();
	await other.end();
	await eventually(() => world.engine.sockets === 0);
	expect(world.realtime.stats()).toMatchObject({
		streams: 0,
		hub: { feeds: 0, sources: { inngest: { sockets: 0 } } }
	});
});

test('with `scope: request` a reader that comes back is told that it may have missed something', async () => {
	world = await startWorld({ channels, scope: 'request' });
	const first = await world.open({ channel: 'demo' });
	await first.connected();
	first.close();
	const again = await world.open({ channel: 'demo', lastEventId: first.lastId });
	await again.connected();
	expect(again.frames.map(({ event }) => event)).toEqual(['health', 'resync', 'health']);
});

test('with `scope: request` a HEAD, a refusal and a response that nobody reads open no socket', async () => {
	world = await startWorld({
		channels: { ...channels, demo: { ...channels.demo, authorize: ({ params }) => !params.deny } },
		scope: 'request'
	});
	await fetch(`${world.server.url}?channel=demo`, { method: 'HEAD' });
	await world.post({ channel: 'demo', params: { deny: true } });
	expect(world.realtime.stats()).toMatchObject({
		streams: 0,
		hub: { feeds: 0, sources: { inngest: { sockets: 0 } } }
	});
	expect(world.engine.sockets).toBe(0);
});

test('with `scope: request` the stats count iterations as well', async () => {
	world = await startWorld({ channels, scope: 'request' });
	const stream = await world.open({ channel: 'demo' });
	await stream.connected();
	const items = world.realtime.subscribe(demoChannel);
	await eventually(() => world.realtime.stats().hub.sources.inngest!.sockets === 2);
	expect(world.realtime.stats()).toMatchObject({ streams: 1, hub: { feeds: 2 } });
	await items.return();
	await eventually(() => world.engine.sockets === 1);
	expect(world.realtime.stats()).toMatchObject({ hub: { feeds: 1 } });
});
