import { request } from 'node:http';
import { typeOnlyChannel } from '@inngest/realtime';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createRealtime, type RealtimeServerFailureContext } from '../../src/lib/server/index.js';
import { demoChannel, userChannel } from '../support/channels.js';
import { serve } from '../support/server.js';
import { openStream } from '../support/sse.js';
import { deferred, eventually } from '../support/wait.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(() => world.close());

const failures: RealtimeServerFailureContext[] = [];
const onFailure = (failure: RealtimeServerFailureContext): void => void failures.push(failure);
beforeEach(() => void (failures.length = 0));

const channels = {
	demo: { channel: demoChannel, authorize: () => true },
	user: {
		channel: userChannel,
		channelParams: (_event: unknown, id: string) => (id.startsWith('user:') ? id.slice(5) : ''),
		authorize: () => true
	}
};

const refusedBy = (status: number): unknown => [{ stage: 'admission', status }];

test('413 for a body of more than 64 KiB, whose length is announced or not', async () => {
	world = await startWorld({ channels, onFailure });
	const padding = (bytes: number): string => {
		const body = JSON.stringify({ channel: 'demo', params: { padding: '' } });
		return body.replace('""', `"${'x'.repeat(bytes - body.length)}"`);
	};
	const fits = await world.open(padding(64 * 1024));
	await fits.connected();
	const announced = await world.post(padding(64 * 1024 + 1));
	expect(announced.status).toBe(413);
	expect(announced.body.error).toContain('65536 bytes');
	const chunks = new Blob([padding(300_000)]).stream();
	const streamed = await fetch(world.server.url, {
		method: 'POST',
		headers: { 'content-type': 'application/json' },
		body: chunks,
		duplex: 'half'
	} as RequestInit);
	expect(streamed.status).toBe(413);
	expect(failures).toMatchObject([
		{ stage: 'admission', status: 413 },
		{ stage: 'admission', status: 413 }
	]);
});

test('a body far too long is refused before it is read', async () => {
	world = await startWorld({ channels, onFailure });
	const status = await new Promise((resolve, reject) => {
		const sending = request(world.server.url, {
			method: 'POST',
			headers: { 'content-type': 'application/json', 'content-length': 100_000_000 }
		});
		sending.on('response', (response) => {
			resolve(response.statusCode);
			sending.destroy();
		});
		sending.on('error', reject);
		sending.write('{');
	});
	expect(status).toBe(413);
});

test('400 for more subscriptions than a request may have', async () => {
	world = await startWorld({ channels, onFailure, limits: { maxSubscriptions: 3 } });
	const subscriptions = (count: number) =>
		Array.from({ length: count }, (_, n) => ({ channel: `user:${n}` }));
	const stream = await world.open({ subscriptions: subscriptions(3) });
	await stream.connected('user:2');
	const { status, body } = await world.post({ subscriptions: subscriptions(4) });
	expect(status).toBe(400);
	expect(body.error).toBe('A request may have at most 3 subscriptions; this one has 4.');
	expect(failures).toMatchObject(refusedBy(400) as object[]);
});

test('a request may have 100 subscriptions unless configured', async () => {
	world = await startWorld({ channels, onFailure });
	const subscriptions = Array.from({ length: 101 }, (_, n) => ({ channel: `user:${n}` }));
	expect((await world.post({ subscriptions })).body.error).toContain('at most 100');
	const stream = await world.open({ subscriptions: subscriptions.slice(1) });
	for (const { channel } of subscriptions.slice(1)) await stream.connected(channel);
	expect(world.engine.sockets).toBe(1);
});

test.each([
	['channel', { channel: 'x'.repeat(21) }],
	['topic', { channel: 'demo', topics: ['x'.repeat(21)] }],
	['param', { channel: 'demo', params: { ['x'.repeat(21)]: 1 } }],
	['channel of several', { subscriptions: [{ channel: 'x'.repeat(21) }] }]
])('400 for a name that is too long: a %s', async (_, body) => {
	world = await startWorld({ channels, onFailure, limits: { maxNameLength: 20 } });
	const answer = await world.post(body);
	expect(answer.status).toBe(400);
	expect(answer.body.error).toContain('at most 20 are allowed');
	expect(failures).toMatchObject(refusedBy(400) as object[]);
});

test.each([
	['lastEventId', { channel: 'demo', lastEventId: 'x'.repeat(129) }],
	['since', { channel: 'demo', since: 'x'.repeat(129) }],
	['since of several', { subscriptions: [{ channel: 'demo', since: 'x'.repeat(129) }] }]
])('400 for a cursor that is longer than any: %s', async (_, body) => {
	world = await startWorld({ channels, onFailure, limits: { maxNameLength: 20 } });
	const answer = await world.post(body);
	expect(answer.status).toBe(400);
	expect(answer.body.error).toContain('at most 128 are allowed');
});

test('a limit for names that is shorter than a cursor does not end a page that resumes', async () => {
	world = await startWorld({ channels, onFailure, limits: { maxNameLength: 7 } });
	const stream = await world.open({ channel: 'demo', topics: ['message'] });
	const { id } = await stream.connected();
	expect(id!.length).toBeGreaterThan(7);
	const again = await world.open({ channel: 'demo', topics: ['message'], lastEventId: id });
	await again.connected();
	expect(again.frames.some(({ event }) => event === 'resync')).toBe(false);
});

test('100 subscriptions that fit into 64 KiB resume with 100 cursors, the longest there are', async () => {
	world = await startWorld({ channels, onFailure });
	const subscriptions = Array.from({ length: 100 }, (_, n) => ({
		channel: `user:${n}`,
		params: { padding: 'x'.repeat(575) } as Record<string, string>
	}));
	const fill = 64 * 1024 - JSON.stringify({ subscriptions }).length;
	subscriptions[0]!.params.padding += 'x'.repeat(fill);
	const first = await world.open({ subscriptions });
	await first.connected('user:99');
	const lastEventId = `${'e'.repeat(64)}-${'9'.repeat(15)}`;
	const resumed = subscriptions.map((subscription) => ({ ...subscription, lastEventId }));
	const second = await world.open({ subscriptions: resumed });
	await second.connected('user:99');
	// One byte more was refused from the start.
	subscriptions[0]!.params.padding += 'x';
	expect((await world.post({ subscriptions })).status).toBe(413);
	const more = subscriptions.map((subscription) => ({ ...subscription, lastEventId }));
	expect((await world.post({ subscriptions: more })).status).toBe(413);
});

test('400 for too many topics, in one subscription or in one request', async () => {
	const open = typeOnlyChannel('open');
	const asked = vi.fn(() => true);
	world = await startWorld({
		channels: { open: { channel: open, authorize: asked }, user: channels.user },
		onFailure,
		limits: { maxTopics: 3 }
	});
	const topics = (count: number): string[] => Array.from({ length: count }, (_, n) => `t${n}`);
	for (const body of [
		{ channel: 'open', topics: topics(4) },
		{ subscriptions: [{ channel: 'open', topics: topics(4) }] }
	]) {
		const { status, body: answer } = await world.post(body);
		expect(status).toBe(400);
		expect(answer.error).toBe('A subscription may name at most 3 topics; that of "open" names 4.');
	}
	const many = await world.post({
		subscriptions: Array.from({ length: 11 }, (_, n) => ({
			channel: `user:${n}`,
			topics: topics(3)
		}))
	});
	expect(many.status).toBe(400);
	expect(many.body.error).toBe('A request may name at most 30 topics; this one names 33.');
	expect(asked).not.toHaveBeenCalled();
	expect(failures).toMatchObject([1, 2, 3].map(() => ({ stage: 'admission', status: 400 })));
	const stream = await world.open({ channel: 'open', topics: [...topics(3), ...topics(3)] });
	await stream.connected();
});

test('429 with Retry-After past maxStreams, until one leaves', async () => {
	world = await startWorld({ channels, onFailure, limits: { maxStreams: 2 } });
	const first = await world.open({ channel: 'demo' });
	await first.connected();
	const second = await world.open({ subscriptions: [{ channel: 'demo' }] });
	await second.connected();
	for (const body of [{ channel: 'demo' }, { subscriptions: [{ channel: 'demo' }] }]) {
		const { status, headers, body: answer } = await world.post(body);
		expect(status).toBe(429);
		expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
		expect(answer.error).toContain('2 open streams');
	}
	expect(failures).toMatchObject([{ stage: 'admission' }, { stage: 'admission' }]);
	first.close();
	await eventually(() => world.realtime.stats().streams === 1);
	const third = await world.open({ channel: 'demo' });
	await third.connected();
});

test('429 past maxStreamsPerKey, for that key alone', async () => {
	world = await startWorld({
		channels,
		onFailure,
		limits: {
			maxStreamsPerKey: 1,
			key: ({ request }) => request.headers.get('x-user') ?? ''
		}
	});
	const alice = await world.open({ channel: 'demo' }, { 'x-user': 'alice' });
	await alice.connected();
	const refused = await world.post({ channel: 'demo' }, { 'x-user': 'alice' });
	expect(refused.status).toBe(429);
	expect(refused.headers.has('retry-after')).toBe(true);
	const bob = await world.open({ channel: 'demo' }, { 'x-user': 'bob' });
	await bob.connected();
	alice.close();
	await eventually(() => world.realtime.stats().streams === 1);
	const again = await world.open({ channel: 'demo' }, { 'x-user': 'alice' });
	await again.connected();
});

test('without `key` the client’s address is what counts', async () => {
	world = await startWorld({ channels, onFailure, limits: { maxStreamsPerKey: 1 } });
	const first = await world.open({ channel: 'demo' });
	await first.connected();
	expect((await world.post({ channel: 'demo' })).status).toBe(429);
});

test('500 when `key` throws, and the cause stays here', async () => {
	world = await startWorld({
		channels,
		onFailure,
		limits: {
			maxStreamsPerKey: 1,
			key: () => {
				throw new Error('secret');
			}
		}
	});
	const { status, body } = await world.post({ channel: 'demo' });
	expect(status).toBe(500);
	expect(body).toEqual({ error: 'The stream could not be counted.' });
	expect(failures).toMatchObject([{ stage: 'admission', error: { message: 'secret' } }]);
});

test('streams that are authorized at the same time do not pass the limit together', async () => {
	const answer = deferred<boolean>();
	let asked = 0;
	world = await startWorld({
		channels: {
			demo: {
				channel: demoChannel,
				authorize: () => {
					asked++;
					return answer.promise;
				}
			}
		},
		onFailure,
		limits: { maxStreams: 3 }
	});
	const refusals: string[] = [];
	const opening = Array.from({ length: 8 }, async () => {
		const stream = await world.open({ channel: 'demo' });
		await stream.connected();
	}).map((opened) => opened.catch((error: unknown) => void refusals.push(String(error))));
	// Those that wait count, so that the others are refused while they wait.
	await eventually(() => refusals.length === 5);
	expect(asked).toBe(3);
	for (const refusal of refusals) expect(refusal).toContain('This server has 3 open streams');
	expect(world.realtime.stats().streams).toBe(0);
	answer.resolve(true);
	await Promise.all(opening);
	expect(refusals).toHaveLength(5);
	expect(world.realtime.stats().streams).toBe(3);
});

test('requests that wait count against maxStreamsPerKey, and no longer once they were denied', async () => {
	const answer = deferred<boolean>();
	let asked = 0;
	world = await startWorld({
		channels: {
			demo: {
				channel: demoChannel,
				authorize: () => {
					asked++;
					return answer.promise;
				}
			}
		},
		limits: { maxStreamsPerKey: 1, key: async ({ request }) => request.headers.get('x-user')! }
	});
	const first = world.post({ channel: 'demo' }, { 'x-user': 'alice' });
	await eventually(() => asked === 1);
	const second = await world.post({ channel: 'demo' }, { 'x-user': 'alice' });
	expect(second.status).toBe(429);
	expect(second.body.error).toContain('You have 1 open streams');
	answer.resolve(false);
	expect((await first).status).toBe(403);
	expect((await world.post({ channel: 'demo' }, { 'x-user': 'alice' })).status).toBe(403);
});

test('past maxStarting 503 with Retry-After, over all endpoints of the process', async () => {
	const answer = deferred<boolean>();
	let asked = 0;
	const authorize = (): Promise<boolean> => {
		asked++;
		return answer.promise;
	};
	const options = {
		channels: { demo: { channel: demoChannel, authorize } },
		onFailure,
		limits: { maxStarting: 2 }
	};
	world = await startWorld(options);
	const other = createRealtime({ ...options, inngest: world.inngest });
	const server = await serve(other);
	try {
		const opening = [
			world.open({ channel: 'demo' }),
			openStream(server.url, { subscriptions: [{ channel: 'demo' }] })
		];
		await eventually(() => asked === 2);
		for (const body of [{ channel: 'demo' }, { subscriptions: [{ channel: 'demo' }] }]) {
			const refused = await world.post(body);
			expect(refused.status).toBe(503);
			expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
			expect(refused.headers.get('cache-control')).toBe('no-store');
			expect(refused.body.error).toContain('authorizing as many streams as it may');
		}
		expect(asked).toBe(2);
		expect(failures).toMatchObject([1, 2].map(() => ({ stage: 'admission', status: 503 })));
		answer.resolve(true);
		const streams = await Promise.all(opening);
		for (const stream of streams) await stream.connected();
		await (await world.open({ channel: 'demo' })).connected();
		for (const stream of streams) stream.close();
	} finally {
		other.close();
		await server.close();
	}
});

test('a request for many channels authorizes no more at once than maxStarting allows, and gets all', async () => {
	let running = 0;
	let most = 0;
	world = await startWorld({
		channels: {
			user: {
				...channels.user,
				authorize: async () => {
					most = Math.max(most, ++running);
					await new Promise(setImmediate);
					running--;
					return true;
				}
			}
		},
		limits: { maxStarting: 3 }
	});
	const subscriptions = Array.from({ length: 12 }, (_, n) => ({ channel: `user:${n}` }));
	const stream = await world.open({ subscriptions });
	for (const { channel } of subscriptions) await stream.connected(channel);
	expect(most).toBe(3);
});

test('a stream that finds no room as it begins is told so, and may try again', async () => {
	const through = deferred();
	let answered = 0;
	world = await startWorld(
		{ channels, onFailure, limits: { maxStreams: 1 } },
		{
			// A hook of the app that takes its time with each response.
			around: async (_event, next) => {
				const response = await next();
				answered++;
				await through.promise;
				return response;
			}
		}
	);
	const opening = ['a', 'b'].map((id) =>
		world.open({ subscriptions: [{ channel: `user:${id}` }, { channel: `user:${id}2` }] })
	);
	await eventually(() => answered === 2);
	through.resolve();
	const streams = await Promise.all(opening);
	await eventually(() => streams.some(({ ended }) => ended));
	const [refused, admitted] = streams.sort((one, other) => +other.ended - +one.ended);
	expect(refused!.health()).toMatchObject([
		{ status: 'degraded', stage: 'admission', code: 429, fatal: false },
		{ status: 'degraded', stage: 'admission', code: 429, fatal: false }
	]);
	await admitted!.when(() => admitted!.statuses.filter((s) => s === 'connected').length === 2);
	expect(world.realtime.stats().streams).toBe(1);
});

test('past maxLifetimeMs a stream ends without a last word, and resumes', async () => {
	world = await startWorld({ channels, onFailure, limits: { maxLifetimeMs: 200 } });
	const began = performance.now();
	const stream = await world.open({ channel: 'demo' });
	await stream.connected();
	await world.publish('demo', 'message', { message: '1' });
	await stream.end();
	const livedMs = performance.now() - began;
	expect(livedMs).toBeGreaterThan(180);
	expect(livedMs).toBeLessThan(1_000);
	expect(stream.statuses).toEqual(['connecting', 'connected']);
	expect(stream.texts).toEqual(['1']);
	expect(failures).toEqual([]);
	await world.publish('demo', 'message', { message: '2' });
	const again = await world.open({ channel: 'demo', lastEventId: stream.lastId });
	await again.connected();
	expect(again.texts).toEqual(['2']);
});
