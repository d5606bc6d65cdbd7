import { Agent, request, type IncomingMessage } from 'node:http';
import { setImmediate as immediate } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { demoChannel, userChannel } from '../support/channels.js';
import { sum } from '../support/metrics.js';
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
	expect(sum(world.realtime, 'slow_readers_total')).toBe(1);
	expect(sum(world.realtime, 'streams_closed_total', { reason: 'slow' })).toBe(1);
	expect(sum(world.realtime, 'replay_events')).toBeGreaterThan(0);
	expect(sum(world.realtime, 'replay_bytes')).toBeGreaterThan(filler.length);
	expect(sum(world.realtime, 'message_bytes_total', { channel: 'demo' })).toBeGreaterThan(
		filler.length
	);
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

/** Both ways in which messages reach a reader that is live, and their checks. */
const checks: [string, { reauthorizeOnEachMessage?: boolean }][] = [
	['without checks', {}],
	['through checks that answer later', { reauthorizeOnEachMessage: true }]
];

test.each(checks)(
	'a message larger than the budget arrives, also in a replay, %s',
	async (_, options) => {
		world = await startWorld({
			channels: { demo: { ...channels.demo, reauthorize: () => immediate(true) } },
			limits: { maxBufferedBytes: 10_000 },
			...options
		});
		const live = await world.open({ channel: 'demo' });
		await live.connected();
		const lastEventId = live.lastId!;
		const texts = ['1', `2 ${filler}`, '3', `4 ${filler}`, `5 ${filler}`, '6'];
		for (const message of texts) {
			await world.publish('demo', 'message', { message });
			await live.when(() => live.texts.at(-1) === message);
		}
		// Other channels of the same stream have something to say at the same time.
		const subscriptions = [{ channel: 'demo', lastEventId }];
		for (const again of [
			await world.open({ channel: 'demo', lastEventId }),
			await world.open({ subscriptions }),
			await world.open({ channel: 'demo', history: 6 })
		]) {
			await again.connected();
			expect(again.texts).toEqual(texts);
		}
		expect(world.realtime.stats().slowReaders).toBe(0);
	}
);

test('a reader that stalls at a message larger than the budget is closed by what follows', async () => {
	world = await startWorld({ channels, limits: { maxBufferedBytes: 50_000 } });
	client = await RawClient.open(world.server.url);
	client.post({ channel: 'demo' });
	await eventually(() => client!.text.includes('"connected"'));
	client.stall();
	await publishUntil(() => world.realtime.stats().slowReaders === 1, filler.repeat(5));
	expect(world.realtime.stats().streams).toBe(0);
});

test('a budget smaller than what its channels say about themselves lets them connect', async () => {
	const ids = Array.from({ length: 50 }, (_, n) => `user:${n}`);
	world = await startWorld({
		channels: {
			user: {
				channel: userChannel,
				channelParams: (_event, name) => name.slice('user:'.length),
				authorize: () => true
			}
		},
		limits: { maxBufferedBytes: 100 }
	});
	const stream = await world.open({ subscriptions: ids.map((channel) => ({ channel })) });
	for (const id of ids) await stream.connected(id);
	await world.publish('user:7', 'message', { message: filler });
	await stream.when(() => stream.texts.length === 1);
	expect(world.realtime.stats().slowReaders).toBe(0);
});

test('an app’s request of itself has the socket of the page’s request, which is never touched', async () => {
	let destroyed = 0;
	const reading = deferred();
	world = await startWorld(
		{ channels, limits: { maxBufferedBytes: 10_000 } },
		{
			around: async (event, next) => {
				if (!event.request.headers.has('x-page')) return next();
				(event.platform as { req: IncomingMessage }).req.socket.on('close', () => destroyed++);
				// What `event.fetch` does in `load`: it calls the route with the `platform` of the page.
				const response = await world.realtime.POST({
					...event,
					isSubRequest: true,
					request: new Request(event.url, {
						method: 'POST',
						body: JSON.stringify({ channel: 'demo' })
					})
				} as never);
				const reader = response.body!.getReader();
				await reader.read();
				await reading.promise;
				return new Response('the page');
			}
		}
	);
	const page = fetch(world.server.url, { method: 'POST', headers: { 'x-page': '1' } });
	const witness = await world.open({ channel: 'demo' });
	await witness.connected();
	// The stream was opened and abandoned: what waits for it is too much.
	await publishUntil(() => world.realtime.stats().slowReaders === 1);
	reading.resolve();
	expect(await (await page).text()).toBe('the page');
	expect(destroyed).toBe(0);
});

test('a socket that has gone on to another request is not touched', async () => {
	let sockets = 0;
	const agent = new Agent({ keepAlive: true, maxSockets: 1 });
	world = await startWorld(
		{ channels, limits: { maxBufferedBytes: 10_000 } },
		{
			around: async (event, next) => {
				if (event.request.method === 'GET') return new Response('next');
				if (!event.request.headers.has('x-replaced')) return next();
				// A hook that begins to read a stream and answers with something else.
				void (await next()).body!.getReader().read();
				return new Response('instead');
			}
		}
	);
	world.server.server.on('connection', () => sockets++);
	const ask = (method: string, body?: unknown): Promise<string> =>
		new Promise((resolve, reject) => {
			const headers = { 'content-type': 'application/json', 'x-replaced': '1' };
			const asking = request(world.server.url, { agent, method, headers }, (response) => {
				let text = '';
				response.on('data', (chunk) => (text += String(chunk)));
				response.on('end', () => resolve(text));
				response.on('error', reject);
			});
			asking.on('error', reject);
			asking.end(body && JSON.stringify(body));
		});
	try {
		expect(await ask('POST', { channel: 'demo' })).toBe('instead');
		const witness = await world.open({ channel: 'demo' });
		await witness.connected();
		const before = sockets;
		await publishUntil(() => world.realtime.stats().slowReaders === 1);
		expect(await ask('GET')).toBe('next');
		expect(sockets).toBe(before);
	} finally {
		agent.destroy();
	}
});
