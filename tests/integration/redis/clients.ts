import { Cluster, Redis } from 'ioredis';
import { Cluster as Cluster5, Redis as Redis5 } from 'ioredis5';
import { createClient, createCluster } from 'redis';
import { createClient as createClient5, createCluster as createCluster5 } from 'redis5';
import type { RedisClient } from '../../../src/lib/redis/index.js';

/** How each client is made, as apps do; none of them is connected. */
export const clients: Record<string, (url: string, cluster: boolean) => RedisClient> = {
	'redis 6': (url, cluster) =>
		cluster ? createCluster({ rootNodes: [{ url }] }) : createClient({ url }),
	'ioredis 6': (url, cluster) =>
		cluster ? new Cluster([url], { lazyConnect: true }) : new Redis(url, { lazyConnect: true }),
	'redis 5': (url, cluster) =>
		cluster ? createCluster5({ rootNodes: [{ url }] }) : createClient5({ url }),
	'ioredis 5': (url, cluster) =>
		cluster ? new Cluster5([url], { lazyConnect: true }) : new Redis5(url, { lazyConnect: true })
};

/** Those of the default run; `BACKENDS=all` takes all of them. */
export const names =
	process.env.BACKENDS === 'all' ? Object.keys(clients) : ['redis 6', 'ioredis 6'];
