import { Redis } from 'ioredis';
import { Redis as Redis5 } from 'ioredis5';
import { createSentinel } from 'redis';
import { describe, expect, test } from 'vitest';
import { redisBackend, type RedisClient } from '../../../src/lib/redis/index.js';
import type { ReplayedEvent } from '../../../src/lib/server/backend/replay.js';
import { hasRedis, RedisServer } from '../../support/redis.js';
import { eventually } from '../../support/wait.js';

const clients: Record<string, (port: number) => RedisClient> = {
	'redis 6': (port) =>
		createSentinel({ name: 'main', sentinelRootNodes: [{ host: '127.0.0.1', port }] }),
	'ioredis 6': (port) =>
		new Redis({ name: 'main', sentinels: [{ host: '127.0.0.1', port }], lazyConnect: true }),
	'ioredis 5': (port) =>
		new Redis5({ name: 'main', sentinels: [{ host: '127.0.0.1', port }], lazyConnect: true })
};

const event = (n: number) => ({
	key: `${n}`,
	kind: 'message' as const,
	topic: 'topic',
	payload: `${n}`
});

describe.skipIf(!hasRedis || process.env.BACKENDS !== 'all')('a failover of Sentinel', () => {
	test.each(Object.keys(clients))(
		'goes on without a restart, through %s',
		async (name) => {
			const master = await RedisServer.start();
			const replica = await RedisServer.start({
				args: ['--replicaof', '127.0.0.1', `${master.port}`]
			});
			const sentinel = await RedisServer.start({ watches: master.port });
			const backend = redisBackend(clients[name]!(sentinel.port), {
				timeoutMs: 1_000,
				heartbeatMs: 300
			});
			try {
				await expect
					.poll(() => sentinel.command('SENTINEL', 'REPLICAS', 'main'), { timeout: 15_000 })
					.toMatch(/master-link-status\r\n\$2\r\nok/);
				const told: ReplayedEvent[] = [];
				const turns: string[] = [];
				backend.bus.listen('log', {
					events: (events) => told.push(...events),
					live: () => turns.push('live'),
					lost: () => turns.push('lost')
				});
				await eventually(() => turns.length > 0, 'the line');
				expect(turns).toEqual(['live']);
				const cursors = await backend.replay.append('log', [event(1), event(2)]);
				await expect.poll(() => told.length).toBe(2);
				await master.command('WAIT', '1', '1000');
				await master.stop();
				await eventually(() => turns.includes('lost'), 'the loss', 15_000);
				await expect
					.poll(
						async () => {
							try {
								return (await backend.bus.publish('log', event(3))).cursor;
							} catch {
								return '';
							}
						},
						{ timeout: 20_000 }
					)
					.toMatch(/-3$/);
				// The other server has another epoch, in which the cursors of before are still good.
				const { events, missed } = await backend.replay.since('log', cursors[0]!);
				expect([events.map(({ payload }) => payload), missed]).toEqual([['2', '3'], undefined]);
				await eventually(() => turns.at(-1) === 'live', 'the line to come back', 15_000);
				await backend.bus.publish('log', event(4));
				await eventually(() => told.at(-1)?.payload === '4', 'the announcement');
			} finally {
				backend.close();
				await Promise.all([sentinel.close(), replica.close(), master.close()]);
			}
		},
		60_000
	);
});
