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
import { clients } from './clients.js';

const all = process.env.BACKENDS === 'all';

/** A kind of server, how its buses publish, and the client libraries to go through. */
export interface Setup {
	cluster: boolean;
	sharded: boolean;
	names: string[];
	/** Whether it belongs to the long run only. */
	isLong?: boolean;
}

/** Runs the contracts of the seams through each client library, on a server of its own. */
export function contract({ cluster, sharded, names, isLong = false }: Setup): void {
	describe.skipIf(!hasRedis || (isLong && !all)).each(names)('Redis through %s', (name) => {
		let server: RedisServer;

		beforeAll(async () => void (server = await RedisServer.start({ cluster })));
		afterAll(() => server.close());

		const driver: BackendDriver = {
			connect: () =>
				redisBackend(clients[name]!(server.url, cluster), {
					timeoutMs: 2_000,
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

		replayContract(driver, { it, expect });
		busContract(driver, { it, expect });
		presenceContract(driver, { it, expect });
		rateLimitContract(driver, { it, expect });
		idempotencyContract(driver, { it, expect });
	});
}
