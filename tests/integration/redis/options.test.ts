import { Redis } from 'ioredis';
import { createClient, createClientPool, createSentinel } from 'redis';
import { createSentinel as createSentinel5 } from 'redis5';
import { expect, test, vi } from 'vitest';
import { redisBackend, type RedisBackendOptions } from '../../../src/lib/redis/index.js';
import { clients } from './clients.js';

const DEAD = 'redis://user:secret@127.0.0.1:1';

test.each([
	['nothing', undefined],
	['a URL', DEAD],
	['something else that can be duplicated', { duplicate() {} }],
	['a pool', createClientPool({ url: DEAD })]
])('%s is no client', (_, client) => {
	expect(() => redisBackend(client as never)).toThrow(
		expect.objectContaining({
			name: 'RealtimeError',
			code: 'INVALID_OPTION',
			message: expect.not.stringContaining('secret')
		})
	);
});

test.each<[keyof RedisBackendOptions, unknown]>([
	['prefix', ''],
	['prefix', 'a b'],
	['prefix', '{a}'],
	['prefix', 1],
	['maxEvents', 0],
	['maxEvents', 1.5],
	['maxAgeMs', Infinity],
	['maxAgeMs', NaN],
	['timeoutMs', -1],
	['timeoutMs', '1s'],
	['heartbeatMs', 0],
	['keyTtlMs', 3_600_000],
	['sharded', 'yes']
])('`%s: %j` is refused', (name, value) => {
	expect(() => redisBackend(createClient(), { [name]: value })).toThrow(
		expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringContaining(name) })
	);
});

test.each(Object.entries(clients))('making one with %s connects to nothing', (_, create) => {
	vi.useFakeTimers();
	try {
		for (const cluster of [false, true]) {
			const backend = redisBackend(create(DEAD, cluster));
			expect([backend.name, backend.timeoutMs]).toEqual(['redis', 2_000]);
			backend.close();
		}
		expect(vi.getTimerCount()).toBe(0);
	} finally {
		vi.useRealTimers();
	}
});

test('a Sentinel client is one', () => {
	const sentinels = [{ host: '127.0.0.1', port: 1 }];
	const options = { name: 'main', sentinelRootNodes: sentinels };
	redisBackend(createSentinel(options)).close();
	expect(() => redisBackend(createSentinel5(options))).toThrow('update `redis`');
	redisBackend(new Redis({ sentinels, name: 'main', lazyConnect: true })).close();
});
