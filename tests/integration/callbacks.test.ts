import { channel, topic } from '@inngest/realtime';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { RealtimeServerFailureContext } from '../../src/lib/server/index.js';
import { demoChannel, userChannel } from '../support/channels.js';
import { eventually } from '../support/wait.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
afterEach(() => world.close());

const failures: RealtimeServerFailureContext[] = [];
const onFailure = (failure: RealtimeServerFailureContext): void => void failures.push(failure);
beforeEach(() => void (failures.length = 0));

/** What never settles: a promise, and a thenable of some library. */
const hang = [
	['promise', () => new Promise<never>(() => {})],
	['thenable', () => ({ then: () => {} }) as unknown as Promise<never>]
] as const;

/** Short enough to wait for. */
const SHORT = { onFailure, callbackTimeoutMs: 100 };
/** So long that whatever waits for it fails its test. */
const LONG = { onFailure, callbackTimeoutMs: 60_000 };

const UNCHECKED =
	'The right to read this realtime channel could not be checked; it will be tried again.';

const timedOut = (callback: string): object => ({
	status: 503,
	callback,
	error: {
		name: 'RealtimeError',
		code: 'CALLBACK_TIMEOUT',
		message: expect.stringContaining(`\`${callback}\` did not settle within 100 ms`) as string
	}
});

const user = {
	channel: userChannel,
	channelParams: (_event: unknown, id: string) => (id.startsWith('user:') ? id.slice(5) : ''),
	authorize: () => true
};

test.each(hang)('authorize that never settles (%s) is answered with 503', async (_, never) => {
	world = await startWorld({
		channels: { demo: { channel: demoChannel, authorize: never } },
		...SHORT
	});
	expect(await world.post({ channel: 'demo' })).toMatchObject({
		status: 503,
		body: { error: UNCHECKED }
	});
	expect(failures).toMatchObject([
		{ stage: 'authorization', channelId: 'demo', ...timedOut('authorize') }
	]);
	expect(world.engine.sockets).toBe(0);
});

test('one channel whose authorize never settles ends, and may be tried again; the others start', async () => {
	world = await startWorld({
		channels: { demo: { channel: demoChannel, authorize: hang[0][1] }, user },
		...SHORT
	});
	const stream = await world.open({
		subscriptions: [{ channel: 'demo' }, { channel: 'user:alice' }]
	});
	await stream.connected('user:alice');
	await stream.when(() => stream.health('demo').length > 0);
	expect(stream.health('demo')).toMatchObject([
		{ status: 'degraded', stage: 'authorization', code: 503, fatal: false, detail: UNCHECKED }
	]);
	expect(stream.ended).toBe(false);
});

test('a request that waits counts as a stream, and no longer when it has been refused', async () => {
	let asked = 0;
	world = await startWorld({
		channels: {
			demo: {
				channel: demoChannel,
				authorize: () => (++asked === 1 ? new Promise<never>(() => {}) : true)
			}
		},
		onFailure,
		callbackTimeoutMs: 500,
		limits: { maxStreams: 1 }
	});
	const waiting = world.post({ channel: 'demo' });
	await eventually(() => asked === 1);
	expect((await world.post({ channel: 'demo' })).status).toBe(429);
	expect((await waiting).status).toBe(503);
	await (await world.open({ channel: 'demo' })).connected();
});

test.each(hang)(
	'an interval check that never settles (%s) does not switch revocation off',
	async (_, never) => {
		let isHanging = false;
		world = await startWorld({
			channels: {
				demo: { channel: demoChannel, authorize: () => (isHanging ? never() : true) }
			},
			...SHORT,
			recheckIntervalMs: 50
		});
		const stream = await world.open({ channel: 'demo' });
		await stream.connected();
		isHanging = true;
		await stream.end();
		expect(stream.health().at(-1)).toMatchObject({
			status: 'degraded',
			stage: 'reauthorization',
			code: 503,
			fatal: false,
			detail: UNCHECKED
		});
		expect(failures).toMatchObject([{ stage: 'reauthorization', ...timedOut('authorize') }]);
		expect(failures[0]!.event?.url.pathname).toBe('/');
		isHanging = false;
		await (await world.open({ channel: 'demo' })).connected();
	}
);

test.each([
	...hang.map(([kind, never]) => ['reauthorize', kind, { reauthorize: never }] as const),
	...hang.map(([kind, never]) => ['authorize', kind, { isRecheck: never }] as const)
])(
	'a check of a message by %s that never settles (%s) sends nothing and ends the channel',
	async (callback, _, config) => {
		let asked = 0;
		const authorize = 'isRecheck' in config ? config.isRecheck : () => true;
		world = await startWorld({
			channels: {
				demo: {
					channel: demoChannel,
					authorize: () => (++asked === 1 ? true : authorize()),
					...('reauthorize' in config && { reauthorize: config.reauthorize })
				}
			},
			...SHORT,
			reauthorizeOnEachMessage: true
		});
		const stream = await world.open({ channel: 'demo' });
		await stream.connected();
		await world.publish('demo', 'message', { message: '1' });
		await stream.end();
		expect(stream.texts).toEqual([]);
		expect(stream.health().at(-1)).toMatchObject({ status: 'degraded', code: 503, fatal: false });
		expect(failures).toMatchObject([{ stage: 'reauthorization', ...timedOut(callback) }]);
	}
);

test.each(hang)(
	'a resolver that never settles (%s) holds up no request for another entry',
	async (_, never) => {
		world = await startWorld({
			channels: {
				hanging: { channel: userChannel, channelParams: never, authorize: () => true },
				demo: { channel: demoChannel, authorize: () => true },
				user
			},
			...LONG
		});
		for (const name of ['demo', 'user:alice']) {
			const stream = await world.open({ channel: name });
			await stream.connected();
		}
		const many = await world.open({
			subscriptions: [{ channel: 'demo' }, { channel: 'user:bob' }]
		});
		await many.connected('demo');
		await many.connected('user:bob');
		expect(failures).toEqual([]);
	}
);

test('a resolver that never settles is reported, whether or not another entry matches', async () => {
	world = await startWorld({
		channels: {
			hanging: { channel: userChannel, channelParams: hang[0][1], authorize: () => true },
			demo: { channel: demoChannel, authorize: () => true }
		},
		...SHORT
	});
	await (await world.open({ channel: 'demo' })).connected();
	await eventually(() => failures.length === 1);
	expect(await world.post({ channel: 'user:alice' })).toMatchObject({
		status: 503,
		body: { error: 'The requested realtime channel could not be resolved.' }
	});
	expect(failures).toMatchObject([
		{ stage: 'channel-resolution', channelId: 'demo', ...timedOut('channelParams') },
		{ stage: 'channel-resolution', channelId: 'user:alice', ...timedOut('channelParams') }
	]);
});

test('an entry that matches after another one still makes the registry ambiguous', async () => {
	const later = async (_event: unknown, id: string): Promise<string> => {
		await new Promise((resolve) => setTimeout(resolve, 20));
		return id.slice(5);
	};
	world = await startWorld({
		channels: { user, twin: { ...user, channelParams: later } },
		...LONG
	});
	expect(await world.post({ channel: 'user:alice' })).toMatchObject({
		status: 500,
		body: { matchingRegistryKeys: ['user', 'twin'] }
	});
});

test.each([
	['limits.key', { limits: { maxStreamsPerKey: 5, key: hang[0][1] } }, 'counted'],
	['identify', { identify: hang[1][1] }, 'identified']
])('%s that never settles is answered with 503', async (callback, options, text) => {
	world = await startWorld({
		channels: { demo: { channel: demoChannel, authorize: () => true } },
		...SHORT,
		...options
	});
	for (const body of [{ channel: 'demo' }, { subscriptions: [{ channel: 'demo' }] }]) {
		const answer = await world.post(body);
		expect(answer.status).toBe(503);
		expect(answer.body.error).toContain(text);
	}
	expect(failures).toMatchObject([1, 2].map(() => ({ stage: 'admission', ...timedOut(callback) })));
	expect(world.realtime.stats().streams).toBe(0);
});

test.each([
	['denies', new Error('nothing'), 500, 'The stream could not be counted.'],
	['is refused', { status: 401, body: { message: 'Sign in first' } }, 401, 'Sign in first']
])('what limits.key throws %s the request', async (_, thrown, status, text) => {
	const key = (): never => {
		throw thrown;
	};
	world = await startWorld({
		channels: { demo: { channel: demoChannel, authorize: () => true } },
		...SHORT,
		limits: { maxStreamsPerKey: 1, key }
	});
	const answer = await world.post({ channel: 'demo' });
	expect(answer).toMatchObject({ status, body: { error: text } });
	expect(failures).toMatchObject([{ callback: 'limits.key', error: thrown }]);
});

test.each(hang)(
	'a message whose schema never settles (%s) is dropped, and what waits goes on',
	async (_, never) => {
		const schema: StandardSchemaV1 = {
			'~standard': {
				version: 1,
				vendor: 'test',
				validate: (value) =>
					(value as { message: string }).message === 'hangs' ? never() : { value }
			}
		};
		const checked = channel('checked').addTopic(topic('message').schema(schema as never));
		world = await startWorld({
			channels: { checked: { channel: checked, authorize: () => true } },
			...SHORT
		});
		const stream = await world.open({ channel: 'checked' });
		await stream.connected();
		for (const message of ['1', 'hangs', '2'])
			await world.publish('checked', 'message', { message });
		await stream.when(() => stream.texts.length === 2);
		expect(stream.texts).toEqual(['1', '2']);
		expect(failures).toMatchObject([
			{ stage: 'stream', channelId: 'checked', ...timedOut('schema'), status: 500 }
		]);
	}
);

test.each([
	['nothing', undefined],
	['neither a value nor issues', {}],
	['a number', 5]
])('a schema that answers with %s lets nothing through', async (_, answer) => {
	const schema = {
		'~standard': { version: 1, vendor: 'test', validate: () => Promise.resolve(answer) }
	};
	const checked = channel('checked').addTopic(topic('message').schema(schema as never));
	world = await startWorld({
		channels: { checked: { channel: checked, authorize: () => true } },
		...SHORT
	});
	const stream = await world.open({ channel: 'checked' });
	await stream.connected();
	for (const message of ['1', '2']) await world.publish('checked', 'message', { message });
	await eventually(() => failures.length === 2);
	expect(stream.texts).toEqual([]);
});

test.each(hang)(
	'onFailure that never settles (%s) holds nothing up, and the console says so',
	async (_, never) => {
		const log = vi.spyOn(console, 'error').mockImplementation(() => {});
		try {
			world = await startWorld({
				channels: { demo: { channel: demoChannel, authorize: () => false } },
				callbackTimeoutMs: 100,
				onFailure: never as () => never
			});
			expect((await world.post({ channel: 'demo' })).status).toBe(403);
			await eventually(() => log.mock.calls.length > 0);
			expect(log.mock.calls[0]![0]).toContain('onFailure did not settle');
			expect(String(log.mock.calls[0]![1])).toContain('within 100 ms');
		} finally {
			log.mockRestore();
		}
	}
);
