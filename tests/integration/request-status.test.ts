import { channel, topic, typeOnlyChannel } from '@inngest/realtime';
import { error } from '@sveltejs/kit';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { RealtimeServerFailureContext } from '../../src/lib/server/index.js';
import { demoChannel, userChannel } from '../support/channels.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(() => world.close());

const failures: RealtimeServerFailureContext[] = [];
const onFailure = (failure: RealtimeServerFailureContext): void => void failures.push(failure);
beforeEach(() => void (failures.length = 0));

const open = { demo: { channel: demoChannel, authorize: () => true } };

test.each([
	['no JSON', 'not json', 'Invalid JSON body'],
	['nothing', '', 'Invalid JSON body'],
	['no channel', {}, 'Missing channel'],
	['an empty channel', { channel: '' }, 'Missing channel'],
	['a channel that is no text', { channel: 5 }, 'Missing channel'],
	['no object', [], 'Invalid'],
	['null', 'null', 'Invalid'],
	['topics that are no list', { channel: 'demo', topics: 'message' }, 'topics'],
	['a topic that is no text', { channel: 'demo', topics: [1] }, 'topics.0'],
	['an empty list of topics', { channel: 'demo', topics: [] }, 'empty'],
	['params that are no object', { channel: 'demo', params: 'x' }, 'params'],
	['a cursor that is no text', { channel: 'demo', lastEventId: 5 }, 'lastEventId']
])('400 request-validation for a body with %s', async (_, body, text) => {
	world = await startWorld({ channels: open, onFailure });
	const answer = await world.post(body);
	expect(answer.status).toBe(400);
	expect(answer.headers.get('content-type')).toBe('application/json');
	expect(Object.keys(answer.body)).toEqual(['error']);
	expect(answer.body.error).toContain(text);
	expect(answer.body.error).not.toContain('at )');
	expect(failures).toMatchObject([
		{ stage: 'request-validation', status: 400, message: answer.body.error }
	]);
});

test('400 channel-resolution for a channel that no entry has', async () => {
	world = await startWorld({ channels: open, onFailure });
	const { status, body } = await world.post({ channel: 'other' });
	expect(status).toBe(400);
	expect(body).toEqual({ error: 'Requested channel is not available' });
	expect(failures).toMatchObject([
		{ stage: 'channel-resolution', status: 400, channelId: 'other' }
	]);
});

test('500 channel-resolution for a channel that several entries have, naming them', async () => {
	world = await startWorld({
		onFailure,
		channels: {
			one: { channel: demoChannel, authorize: () => true },
			other: { channel: userChannel, channelParams: 'x', authorize: () => true },
			two: { channel: demoChannel, authorize: () => true }
		}
	});
	const { status, body } = await world.post({ channel: 'demo' });
	expect(status).toBe(500);
	expect(body).toEqual({
		error: 'Realtime channel registry is ambiguous',
		requestedChannel: 'demo',
		matchingRegistryKeys: ['one', 'two']
	});
	expect(failures).toMatchObject([{ stage: 'channel-resolution', status: 500 }]);
});

test('400 topic-validation for unknown topics, naming them', async () => {
	world = await startWorld({ channels: open, onFailure });
	const { status, body } = await world.post({
		channel: 'demo',
		topics: ['nope', 'message', '$run', 'toString']
	});
	expect(status).toBe(400);
	expect(body).toEqual({
		error: 'Unknown topics: $run, nope, toString',
		invalidTopics: ['$run', 'nope', 'toString']
	});
	expect(failures).toMatchObject([{ stage: 'topic-validation', status: 400, channelId: 'demo' }]);
});

test('a type-only channel takes any topic, but must be asked for some', async () => {
	const news = channel('anything').addTopic(topic('news').type<{ title: string }>());
	const anything = typeOnlyChannel<typeof news>('anything');
	world = await startWorld({
		onFailure,
		channels: { anything: { channel: anything, authorize: () => true } }
	});
	const { status, body } = await world.post({ channel: 'anything' });
	expect(status).toBe(400);
	expect(body.error).toContain('name those to be read');
	expect(failures).toMatchObject([{ stage: 'topic-validation' }]);
	const stream = await world.open({ channel: 'anything', topics: Object.keys(news.topics) });
	await stream.connected();
	await world.publish('anything', 'news', { title: 'hello' });
	await world.publish('anything', 'other', { title: 'not asked for' });
	await world.publish('anything', 'news', { title: 'bye' });
	await stream.when(() => stream.messages.length === 2);
	expect(stream.messages.map(({ data }) => data)).toEqual([{ title: 'hello' }, { title: 'bye' }]);
});

test('$run is a topic only where the entry says so', async () => {
	world = await startWorld({
		onFailure,
		channels: { demo: { channel: demoChannel, run: true as const, authorize: () => true } }
	});
	const stream = await world.open({ channel: 'demo', topics: ['$run'] });
	await stream.connected();
});

test('403 authorization when authorize denies', async () => {
	world = await startWorld({
		onFailure,
		channels: { demo: { channel: demoChannel, authorize: () => false } }
	});
	const { status, body } = await world.post({ channel: 'demo', topics: ['message'] });
	expect(status).toBe(403);
	expect(body).toEqual({ error: 'Not allowed to read this realtime channel.' });
	expect(failures).toMatchObject([
		{ stage: 'authorization', status: 403, channelId: 'demo', topics: ['message'] }
	]);
});

test('the status of SvelteKit’s error() thrown by authorize is the answer’s', async () => {
	world = await startWorld({
		onFailure,
		channels: { demo: { channel: demoChannel, authorize: () => error(401, 'Sign in first') } }
	});
	const { status, body } = await world.post({ channel: 'demo' });
	expect(status).toBe(401);
	expect(body).toEqual({ error: 'Sign in first' });
});

const failing = {
	channel: userChannel,
	channelParams: (): string => {
		throw new Error('database password is hunter2');
	},
	authorize: () => true
};

test('500 channel-resolution when a resolver throws and no other entry matches', async () => {
	world = await startWorld({
		onFailure,
		channels: { failing, ...open }
	});
	const { status, body } = await world.post({ channel: 'user:alice' });
	expect(status).toBe(500);
	expect(body).toEqual({ error: 'The requested realtime channel could not be resolved.' });
	expect(failures).toMatchObject([
		{ stage: 'channel-resolution', error: { message: 'database password is hunter2' } }
	]);
});

test('a resolver that throws does not matter where another entry matches', async () => {
	world = await startWorld({
		onFailure,
		channels: { failing, ...open }
	});
	const stream = await world.open({ channel: 'demo' });
	await stream.connected();
	expect(failures).toEqual([]);
});

const jobChannel = channel(({ id }: { id: string }) => `job:${id}`).addTopic(topic('message'));
const roomChannel = channel((team: string, room: number) => `room:${team}:${room}`).addTopic(
	topic('message')
);

test.each([
	['undefined', userChannel, undefined, 'user:undefined'],
	['null', userChannel, null, 'user:null'],
	['a field that is undefined', jobChannel, { id: undefined }, 'job:undefined'],
	['no field', jobChannel, {}, 'job:undefined'],
	['an argument that is undefined', roomChannel, ['red', undefined], 'room:red:undefined']
])('a resolver that answers %s subscribes nobody', async (_, builder, answer, name) => {
	world = await startWorld({
		onFailure,
		channels: {
			made: {
				channel: builder as never,
				channelParams: (() => answer) as never,
				authorize: () => true
			}
		}
	});
	const { status, body } = await world.post({ channel: name });
	expect(status).toBe(400);
	expect(body).toEqual({ error: 'Requested channel is not available' });
	expect(failures).toMatchObject([
		{
			stage: 'channel-resolution',
			channelId: name,
			callback: 'channelParams',
			error: {
				name: 'RealtimeError',
				code: 'INVALID_OPTION',
				message: expect.stringContaining(`Registry entry "made" gives no channel for "${name}"`)
			}
		}
	]);
});

test('a resolver that answers with too few arguments subscribes nobody', async () => {
	world = await startWorld({
		onFailure,
		channels: {
			room: { channel: roomChannel, channelParams: (() => ['red']) as never, authorize: () => true }
		}
	});
	expect((await world.post({ channel: 'room:red:undefined' })).status).toBe(500);
	expect(failures).toMatchObject([
		{ callback: 'channelParams', error: { message: expect.stringContaining('"room"') as string } }
	]);
});

test('an entry that no page can ask for changes nothing for other names', async () => {
	const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
	world = await startWorld({
		onFailure,
		channels: { bare: { channel: userChannel, authorize: () => true }, ...open }
	});
	warn.mockRestore();
	for (const name of ['other', 'user:undefined']) {
		expect((await world.post({ channel: name })).status).toBe(400);
	}
	expect(failures[0]!.error).toBeUndefined();
	await (await world.open({ channel: 'demo' })).connected();
});

test('a resolver that answers with an empty text for names of others stays legal', async () => {
	world = await startWorld({
		onFailure,
		channels: {
			user: {
				channel: userChannel,
				channelParams: (_event: unknown, id: string) => (id.startsWith('user:') ? id.slice(5) : ''),
				authorize: () => true
			}
		}
	});
	expect((await world.post({ channel: 'other' })).status).toBe(400);
	// A user may be called so.
	await (await world.open({ channel: 'user:undefined' })).connected();
});

test('500 channel-resolution when a builder gives no name', async () => {
	const nameless = channel((id: string) => (id === 'x' ? '' : id)).addTopic(topic('message'));
	world = await startWorld({
		onFailure,
		channels: { nameless: { channel: nameless, channelParams: () => 'x', authorize: () => true } }
	});
	const { status } = await world.post({ channel: 'y' });
	expect(status).toBe(500);
	expect(failures).toMatchObject([{ stage: 'channel-resolution' }]);
});

test('a resolver is given the event, the requested name and the params, and may be asynchronous', async () => {
	const seen: unknown[] = [];
	world = await startWorld({
		onFailure,
		channels: {
			user: {
				channel: userChannel,
				channelParams: async (event: { url: URL }, id: string, params: unknown) => {
					seen.push(event.url.pathname, id, params);
					await Promise.resolve();
					return id.slice('user:'.length);
				},
				authorize: () => true
			}
		}
	});
	const stream = await world.open({ channel: 'user:alice', params: { as: 'admin' } });
	await stream.connected('user:alice');
	expect(seen).toEqual(['/', 'user:alice', { as: 'admin' }]);
});

test('params reach authorize as primitives or null; topics without repeats', async () => {
	const seen: unknown[] = [];
	world = await startWorld({
		onFailure,
		channels: {
			demo: {
				channel: demoChannel,
				authorize: ({ topics, params, channelId }) => {
					seen.push({ topics, params, channelId });
					return true;
				}
			}
		}
	});
	const stream = await world.open({
		channel: 'demo',
		topics: ['message', 'admin-message', 'message'],
		params: { s: 'x', n: 1, b: false, z: null, o: { deep: 1 }, l: [1] }
	});
	await stream.connected();
	expect(seen).toEqual([
		{
			channelId: 'demo',
			topics: ['admin-message', 'message'],
			params: { s: 'x', n: 1, b: false, z: null, o: null, l: null }
		}
	]);
});

test('a callback that changes its arguments changes nothing for the next', async () => {
	const seen: unknown[] = [];
	world = await startWorld({
		onFailure,
		channels: {
			demo: {
				channel: demoChannel,
				channelParams: ((_event: unknown, _id: string, params: Record<string, unknown>) => {
					params.role = 'admin';
				}) as never,
				authorize: ({ params, topics }) => {
					seen.push({ ...params });
					topics.splice(0);
					return true;
				}
			}
		}
	});
	const stream = await world.open({ channel: 'demo', params: { role: 'user' } });
	await stream.connected();
	expect(seen).toEqual([{ role: 'user' }]);
});

test('no answer that is JSON is kept by a cache', async () => {
	world = await startWorld({
		channels: {
			failing,
			demo: { channel: demoChannel, authorize: ({ params }) => params.ok === true }
		},
		onFailure
	});
	const answers = [
		await world.post('no JSON'),
		await world.post({ channel: 'user:x' }),
		await world.post({ channel: 'demo', topics: ['nope'] }),
		await world.post({ channel: 'demo' }),
		await world.post('x'.repeat(100_000))
	];
	world.realtime.close();
	answers.push(await world.post({ channel: 'demo' }));
	expect(answers.map(({ status }) => status)).toEqual([400, 500, 400, 403, 413, 503]);
	for (const { headers } of answers) expect(headers.get('cache-control')).toBe('no-store');
});

test('a stream is answered with headers that keep caches and proxies out of its way', async () => {
	world = await startWorld({ channels: open, onFailure });
	const { response } = await world.open({ channel: 'demo' });
	expect(Object.fromEntries(response.headers)).toMatchObject({
		'content-type': 'text/event-stream',
		'cache-control': 'no-store, no-transform',
		'x-accel-buffering': 'no',
		connection: 'close'
	});
});
