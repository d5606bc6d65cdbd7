import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startInngestDev } from '../../../src/lib/dev/index.js';
import { redisBackend } from '../../../src/lib/redis/index.js';
import { createRealtime } from '../../../src/lib/server/index.js';
import { demoChannel } from '../../support/channels.js';
import { hasRedis, RedisServer } from '../../support/redis.js';
import { serve } from '../../support/server.js';
import { openStream } from '../../support/sse.js';
import { inngestAt } from '../../support/world.js';

describe.skipIf(!hasRedis)('processes that share a Redis', () => {
	let redis: RedisServer;
	beforeAll(async () => void (redis = await RedisServer.start()));
	afterAll(() => redis.close());

	/** What one of several processes of an app has. */
	async function start(engineUrl: string, client: Parameters<typeof redisBackend>[0]) {
		const backend = redisBackend(client);
		const realtime = createRealtime({
			inngest: inngestAt(engineUrl),
			replay: backend.replay,
			channels: { demo: { channel: demoChannel, authorize: () => true } }
		});
		const server = await serve(realtime);
		const close = async (): Promise<void> => {
			realtime.close();
			await server.close();
			backend.close!();
		};
		return { server, close };
	}

	test('let a reader resume at another one, and store each message once', async () => {
		const engine = await startInngestDev();
		const [here, there] = await Promise.all([
			start(engine.url, createClient({ url: redis.url })),
			start(engine.url, new Redis(redis.url, { lazyConnect: true }))
		]);
		try {
			const reader = await openStream(here.server.url, { channel: 'demo' });
			const other = await openStream(there.server.url, { channel: 'demo' });
			await Promise.all([reader.connected(), other.connected()]);
			for (const message of ['1', '2', '3']) {
				engine.publish({ channel: 'demo', topic: 'message', data: { message } });
			}
			for (const each of [reader, other]) {
				await each.when(() => each.messages.length === 3, 'the messages');
			}
			const ids = ({ frames }: typeof reader) =>
				frames.filter(({ event }) => event === 'message').map(({ id }) => id);
			expect(ids(other)).toEqual(ids(reader));
			reader.close();
			const again = await openStream(there.server.url, {
				channel: 'demo',
				lastEventId: ids(reader)[0]!
			});
			await again.connected();
			expect(again.texts).toEqual(['2', '3']);
			expect(again.frames.some(({ event }) => event === 'resync')).toBe(false);
			const [log] = (await redis.list('KEYS', '*')).filter((key) => key.endsWith(':log'));
			expect(await redis.command('XLEN', log!)).toBe(':3\r\n');
			for (const one of [other, again]) one.close();
		} finally {
			await Promise.all([here.close(), there.close()]);
			await engine.close();
		}
	});
});
