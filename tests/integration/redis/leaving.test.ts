import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, test } from 'vitest';
import { redisBackend } from '../../../src/lib/redis/index.js';
import { hasRedis, RedisServer } from '../../support/redis.js';
import { eventually } from '../../support/wait.js';
import { clients, names } from './clients.js';

const kinds = [false, true].flatMap((cluster) =>
	names.map((name) => ({ name, cluster, create: clients[name]! }))
);

let server: RedisServer;
afterEach(() => server.close());

const listener = { events() {}, live() {}, lost() {} };

test.runIf(hasRedis).each(kinds)(
	'connections that are given up before they are open do not stay ($name, cluster: $cluster)',
	async ({ cluster, create }) => {
		server = await RedisServer.start({ cluster });
		const make = () => redisBackend(create(server.url, cluster));
		for (let n = 0; n < 2; n++) {
			const backend = make();
			const read = backend.replay.bounds('log');
			backend.bus.listen('log', listener);
			await turn();
			backend.close();
			await Promise.allSettled([read]);
		}
		// By the time this has connected, those before have too.
		const other = make();
		await other.replay.bounds('log');
		other.close();
		await eventually(
			async () => (await server.command('CLIENT', 'LIST')).match(/^id=/gm)?.length === 1,
			'the connections to end'
		);
	}
);
