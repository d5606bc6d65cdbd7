import { Inngest } from 'inngest';
import { afterEach, expect, test, vi } from 'vitest';
import {
	createRealtime,
	createRealtimeEndpoint,
	MemoryReplayStore,
	RealtimeError,
	type Realtime,
	type RealtimeEndpointOptions
} from '../../src/lib/server/index.js';
import { demoChannel, userChannel } from '../support/channels.js';

const inngest = new Inngest({ id: 'test', isDev: true });
const demo = { channel: demoChannel, authorize: (): boolean => true };

/** Options with one of them wrong, which types would not let through. */
const options = (wrong: object): RealtimeEndpointOptions =>
	({ inngest, channels: { demo }, ...wrong }) as unknown as RealtimeEndpointOptions;

afterEach(() => void vi.restoreAllMocks());

test.each([
	['any Inngest client', { inngest: undefined }, '`inngest` must be an object'],
	['limits that are an object', { limits: null }, '`limits` must be an object'],
	['a health check that is an object', { healthCheck: null }, '`healthCheck` must be an object'],
	['a replay that is an object', { replay: true }, '`replay` must be an object'],
	['a replay with numbers', { replay: { maxEvents: NaN } }, '`replay.maxEvents`'],
	['a scope that exists', { scope: 'proces' }, '`scope` must be "process" or "request"'],
	['onFailure that is a function', { onFailure: {} }, '`onFailure` must be a function'],
	[
		'reauthorize that is a function',
		{ channels: { demo: { ...demo, reauthorize: true } } },
		'`channels.demo.reauthorize` must be a function'
	],
	[
		'a replay of a channel with numbers',
		{ channels: { demo: { ...demo, replay: { maxAgeMs: -1 } } } },
		'`channels.demo.replay.maxAgeMs`'
	],
	['limits that are numbers', { limits: { maxTopics: '3' } }, '`limits.maxTopics`'],
	['an Inngest client', { inngest: {} }, '`inngest` is not an Inngest client'],
	['channels', { channels: undefined }, '`channels` is empty'],
	['a channel', { channels: {} }, '`channels` is empty'],
	[
		'a channel that is one',
		{ channels: { demo: { channel: {}, authorize: (): boolean => true } } },
		'`channels.demo.channel` is not a channel'
	],
	[
		'authorize',
		{ channels: { demo: { channel: demoChannel } } },
		'`channels.demo.authorize` is missing'
	],
	['a positive interval', { healthCheck: { intervalMs: 0 } }, '`healthCheck.intervalMs`'],
	['a positive recheck', { recheckIntervalMs: -1 }, '`recheckIntervalMs`'],
	['lingering that is no less than zero', { lingerMs: -1 }, '`lingerMs`'],
	['lingering that is a number', { lingerMs: NaN }, '`lingerMs`'],
	['a positive budget', { limits: { maxBufferedBytes: 0 } }, '`limits.maxBufferedBytes`'],
	['a positive lifetime', { limits: { maxLifetimeMs: 0 } }, '`limits.maxLifetimeMs`'],
	['a limit that is a number', { limits: { maxStreams: NaN } }, '`limits.maxStreams`'],
	['a positive limit', { limits: { maxStarting: 0 } }, '`limits.maxStarting`'],
	['a rate', { limits: { rate: { points: 0, intervalMs: 1 } } }, '`limits.rate.points`'],
	['a positive heartbeat', { heartbeatMs: 0 }, '`heartbeatMs`'],
	[
		'positive members',
		{ channels: { demo: { ...demo, presence: { maxMembers: 0 } } } },
		'`channels.demo.presence.maxMembers`'
	],
	[
		'a schema of members',
		{ channels: { demo: { ...demo, presence: { schema: {} } } } },
		'`channels.demo.presence.schema` is not a schema'
	],
	[
		'presence in a process',
		{ scope: 'request', channels: { demo: { ...demo, presence: {} } } },
		'`channels.demo.presence` needs streams that share a process'
	],
	[
		'a latest-value topic that exists',
		{ channels: { demo: { ...demo, latest: { nothing: true } } } },
		'`channels.demo.latest` names "nothing"'
	],
	['a positive time limit', { callbackTimeoutMs: 0 }, '`callbackTimeoutMs`'],
	['identify that is a function', { identify: 'id' }, '`identify` must be a function'],
	['a key that is a function', { limits: { key: 'id' } }, '`limits.key` must be a function']
])('an endpoint without %s is refused when it is created', (_, wrong, text) => {
	const listeners = process.listenerCount('SIGTERM');
	for (const create of [createRealtime, createRealtimeEndpoint]) {
		let thrown: unknown;
		try {
			create(options(wrong));
		} catch (error) {
			thrown = error;
		}
		expect(thrown).toBeInstanceOf(RealtimeError);
		expect(thrown).toMatchObject({ name: 'RealtimeError', code: 'INVALID_OPTION' });
		expect((thrown as Error).message).toContain(text);
	}
	expect(process.listenerCount('SIGTERM')).toBe(listeners);
});

test('creating an endpoint connects to nothing and holds no timer', () => {
	vi.useFakeTimers();
	const fetching = vi.spyOn(globalThis, 'fetch');
	const realtime = createRealtime({ inngest, channels: { demo } });
	expect(vi.getTimerCount()).toBe(0);
	expect(fetching).not.toHaveBeenCalled();
	expect(realtime.stats()).toEqual({
		streams: 0,
		deliveries: 0,
		chunks: 0,
		slowReaders: 0,
		bytes: 0,
		busiest: [],
		pressure: {
			level: 0,
			eventLoopDelayMs: 0,
			eventLoopUtilization: 0,
			heapUsedMb: 0,
			rssMb: 0
		},
		hub: {
			feeds: 0,
			sources: { inngest: { state: 'idle', sockets: 0 } },
			messages: 0,
			drops: 0,
			replay: { events: 0, bytes: 0 }
		}
	});
	realtime.close();
	vi.useRealTimers();
});

test('endpoints that share a client but differ in what its hub is made with are refused', () => {
	const store = new MemoryReplayStore();
	const given: Partial<RealtimeEndpointOptions>[] = [
		{},
		{ lingerMs: 1_000 },
		{ replay: { maxEvents: 5 } },
		{ replay: false },
		{ replay: store },
		{ replay: new MemoryReplayStore() }
	];
	for (const [n, own] of given.entries()) {
		const shared = new Inngest({ id: 'shared', isDev: true });
		const create = (more: (typeof given)[number]): Realtime =>
			createRealtime(options({ inngest: shared, ...more }));
		const first = create(own);
		// A store is itself; bounds are the same when their values are.
		const second = create(own.replay instanceof MemoryReplayStore ? own : structuredClone(own));
		for (const other of given.filter((_, index) => index !== n)) {
			const differing = 'lingerMs' in own || 'lingerMs' in other ? 'lingerMs' : 'replay';
			expect(() => create(other)).toThrow(
				expect.objectContaining({
					code: 'INVALID_OPTION',
					message: expect.stringContaining(`\`${differing}\``)
				})
			);
		}
		first.close();
		second.close();
		// With the last of them the hub is gone, and the next may have other options.
		create(given[(n + 1) % given.length]!).close();
	}
});

test.each([
	['nowhere', {}, {}, true],
	['for the endpoint', { reauthorizeOnEachMessage: true }, {}, false],
	['for the channel', {}, { reauthorizeOnEachMessage: true }, false],
	[
		'off for the channel',
		{ reauthorizeOnEachMessage: true },
		{ reauthorizeOnEachMessage: false },
		true
	]
])(
	'`reauthorize` with per-message checks on %s: a warning is %s',
	(_, endpoint, entry, isWarned) => {
		const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
		const channels = { demo, checked: { ...demo, reauthorize: () => true, ...entry } };
		createRealtime(options({ channels, ...endpoint })).close();
		expect(warn).toHaveBeenCalledTimes(isWarned ? 1 : 0);
		if (!isWarned) return;
		expect(warn.mock.calls[0]![0]).toContain('`channels.checked.reauthorize` is never called');
	}
);

test('a channel with parameters that no page can name is warned of', () => {
	const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
	const authorize = (): boolean => true;
	const channels = {
		demo,
		fixed: { channel: userChannel, channelParams: 'alice', authorize },
		resolved: {
			channel: userChannel,
			channelParams: (_event: unknown, id: string) => id,
			authorize
		}
	};
	createRealtime(options({ channels })).close();
	expect(warn).not.toHaveBeenCalled();
	createRealtime(
		options({ channels: { ...channels, bare: { channel: userChannel, authorize } } })
	).close();
	expect(warn).toHaveBeenCalledTimes(1);
	expect(warn.mock.calls[0]![0]).toContain('No page can ask for `channels.bare`');
});

test('the old name of `recheckIntervalMs` is refused, for it would switch revocation off', () => {
	expect(() => createRealtime(options({ reauthorizeIntervalMs: 1_000 }))).toThrow(
		/recheckIntervalMs/
	);
});
