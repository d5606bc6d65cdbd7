import { Inngest } from 'inngest';
import { afterEach, expect, test, vi } from 'vitest';
import {
	createRealtime,
	createRealtimeEndpoint,
	RealtimeError,
	type RealtimeEndpointOptions
} from '../../src/lib/server/index.js';
import { demoChannel } from '../support/channels.js';

const inngest = new Inngest({ id: 'test', isDev: true });
const demo = { channel: demoChannel, authorize: () => true };

/** Options with one of them wrong, which types would not let through. */
const options = (wrong: object): RealtimeEndpointOptions =>
	({ inngest, channels: { demo }, ...wrong }) as unknown as RealtimeEndpointOptions;

afterEach(() => void vi.restoreAllMocks());

test.each([
	['an Inngest client', { inngest: {} }, '`inngest` is not an Inngest client'],
	['channels', { channels: undefined }, '`channels` is empty'],
	['a channel', { channels: {} }, '`channels` is empty'],
	[
		'a channel that is one',
		{ channels: { demo: { channel: {}, authorize: () => true } } },
		'`channels.demo.channel` is not a channel'
	],
	[
		'authorize',
		{ channels: { demo: { channel: demoChannel } } },
		'`channels.demo.authorize` is missing'
	],
	['a positive interval', { healthCheck: { intervalMs: 0 } }, '`healthCheck.intervalMs`'],
	['a positive recheck', { reauthorizeIntervalMs: -1 }, '`reauthorizeIntervalMs`'],
	['lingering that is no less than zero', { lingerMs: -1 }, '`lingerMs`'],
	['lingering that is a number', { lingerMs: NaN }, '`lingerMs`'],
	['a positive budget', { limits: { maxBufferedBytes: 0 } }, '`limits.maxBufferedBytes`'],
	['a positive lifetime', { limits: { maxLifetimeMs: 0 } }, '`limits.maxLifetimeMs`'],
	['a limit that is a number', { limits: { maxStreams: NaN } }, '`limits.maxStreams`']
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
		slowReaders: 0,
		feeds: 0,
		upstream: { state: 'idle', sockets: 0 },
		messages: 0,
		drops: 0,
		replay: { events: 0, bytes: 0 }
	});
	realtime.close();
	vi.useRealTimers();
});

test('endpoints that share a client but differ in what it shares are warned about', () => {
	const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
	const shared = new Inngest({ id: 'shared', isDev: true });
	const first = createRealtime({ inngest: shared, channels: { demo }, lingerMs: 1_000 });
	const same = createRealtime({ inngest: shared, channels: { demo }, lingerMs: 1_000 });
	expect(warn).not.toHaveBeenCalled();
	const other = createRealtime({ inngest: shared, channels: { demo }, lingerMs: 2_000 });
	expect(warn).toHaveBeenCalledTimes(1);
	expect(warn.mock.calls[0]![0]).toContain('`lingerMs` (1000 and 2000)');
	for (const realtime of [first, same, other]) realtime.close();
});
