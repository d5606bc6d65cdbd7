import { afterEach, expect, test } from 'vitest';
import { demoChannel } from '../support/channels.js';
import { RawClient } from '../support/raw.js';
import { deferred, eventually } from '../support/wait.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
let client: RawClient | undefined;
afterEach(async () => {
	client?.leave();
	client = undefined;
	await world.close();
});

const channels = { demo: { channel: demoChannel, authorize: () => true } };
const filler = 'x'.repeat(20_000);

/** Publishes numbered messages, letting everybody read in between, until `done`. */
async function publishUntil(done: () => boolean, text = filler): Promise<number> {
	for (let n = 1; n <= 2_000; n++) {
		await world.publish('demo', 'message', { message: `${n} ${text}` });
		await new Promise(setImmediate);
		if (done()) return n;
	}
	throw new Error('2000 messages were not enough.');
}

const numberOf = (text: string): number => Number(text.split(' ')[0]);

test('a reader that stalls is closed, its socket destroyed, while others get everything at once', async () => {
	world = await startWorld({ channels });
	let sockets = 0;
	world.server.server.on('connection', (socket) => {
		sockets++;
		socket.on('close', () => sockets--);
	});
	const witness = await world.open({ channel: 'demo' });
	await witness.connected();
	const before = sockets;
	client = await RawClient.open(world.server.url);
	client.post({ channel: 'demo' });
	await eventually(() => client!.text.includes('"connected"'));
	client.stall();
	const published = await publishUntil(
		() => world.realtime.stats().slowReaders === 1,
		filler.repeat(5)
	);
	await eventually(() => sockets === before);
	expect(world.realtime.stats().streams).toBe(1);
	await witness.when(() => witness.messages.length === published);
	expect(witness.texts.map(numberOf)).toEqual(
		Array.from({ length: published }, (_, index) => index + 1)
	);
	client.resume();
	await eventually(() => client!.closed);
	// It got a beginning without a gap, and comes back for the rest.
	const ids = [...client.text.matchAll(/id: (\S+)\nevent: message\ndata: .*\n\n/g)];
	expect(ids.length).toBeLessThan(published);
	const again = await world.open({ channel: 'demo', lastEventId: ids.at(-1)![1] });
	await again.when(() => again.messages.length === published - ids.length);
	expect(numberOf(again.texts[0]!)).toBe(ids.length + 1);
	expect(numberOf(again.texts.at(-1)!)).toBe(published);
	expect(again.frames.some(({ event }) => event === 'resync')).toBe(false);
});

test('messages that wait for their check count as waiting for the reader', async () => {
	const never = deferred<boolean>();
	world = await startWorld({
		channels: {
			demo: {
				channel: demoChannel,
				authorize: () => true,
				reauthorize: ({ params }) => (params.slow ? never.promise : true)
			}
		},
		reauthorizeOnEachMessage: true,
		limits: { maxBufferedBytes: 100_000 }
	});
	const [slow, quick] = [
		await world.open({ channel: 'demo', params: { slow: true } }),
		await world.open({ channel: 'demo' })
	];
	await slow.connected();
	await quick.connected();
	// 100,000 bytes hold four messages.
	for (let n = 1; n <= 4; n++) await world.publish('demo', 'message', { message: filler });
	await quick.when(() => quick.messages.length === 4);
	expect(world.realtime.stats()).toMatchObject({ streams: 2 });
	await world.publish('demo', 'message', { message: filler });
	await slow.end();
	expect(slow.messages).toEqual([]);
	expect(world.realtime.stats().slowReaders).toBe(1);
	await quick.when(() => quick.messages.length === 5);
	expect(world.realtime.stats().streams).toBe(1);
});

test('a stalled reader of another topic is not closed for what it does not read', async () => {
	world = await startWorld({ channels, limits: { maxBufferedBytes: 50_000 } });
	client = await RawClient.open(world.server.url);
	client.post({ channel: 'demo', topics: ['admin-message'] });
	await eventually(() => client!.text.includes('"connected"'));
	client.stall();
	await publishUntil(() => world.realtime.stats().hub.messages === 200);
	expect(world.realtime.stats()).toMatchObject({ streams: 1 });
});
