import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { redisBackend } from '../../../src/lib/redis/index.js';
import {
	busContract,
	idempotencyContract,
	presenceContract,
	rateLimitContract,
	replayContract,
	type BackendDriver
} from '../../../src/lib/testing/contract/index.js';
import { hasRedis, RedisServer } from '../../support/redis.js';
import { clients, names } from './clients.js';

const all = process.env.BACKENDS === 'all';

/** Kinds of servers and options; one Cluster is enough for the default run. */
const setups = [
	{ cluster: false, sharded: false, with: names },
	{ cluster: true, sharded: false, with: all ? names : ['redis 6'] },
	{ cluster: true, sharded: true, with: all ? names : [] }
];

describe
	.skipIf(!hasRedis)
	.each(setups.flatMap(({ with: names, ...setup }) => names.map((name) => ({ name, ...setup }))))(
	'Redis through $name, cluster: $cluster, sharded: $sharded',
	// Each has a server of its own.
	{ concurrent: true },
	({ name, cluster, sharded }) => {
		let server: RedisServer;

		beforeAll(async () => void (server = await RedisServer.start({ cluster })));
		afterAll(() => server.close());

		const driver: BackendDriver = {
			connect: () =>
				redisBackend(clients[name]!(server.url, cluster), {
					timeoutMs: 1_000,
					heartbeatMs: 300,
					sharded
				}),
			freeze: () => server.freeze(),
			thaw: () => server.thaw(),
			flush: () => server.flush(),
			// A Cluster takes seconds to take over its slots again.
			...((all || !cluster) && {
				stop: () => server.stop(),
				start: () => server.start(),
				save: async () => void (await server.command('SAVE'))
			})
		};

		replayContract(driver, { it: it.sequential, expect });
		busContract(driver, { it: it.sequential, expect });
		presenceContract(driver, { it: it.sequential, expect });
		rateLimitContract(driver, { it: it.sequential, expect });
		idempotencyContract(driver, { it: it.sequential, expect });
	}
);
