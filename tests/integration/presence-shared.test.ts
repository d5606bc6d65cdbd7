import { Redis } from 'ioredis';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { postgresBackend } from '../../src/lib/postgres/index.js';
import { redisBackend } from '../../src/lib/redis/index.js';
import type { RealtimeBackend, RealtimeTarget } from '../../src/lib/server/index.js';
import { demoChannel } from '../support/channels.js';
import { People, type Instance, type Watcher } from '../support/people.js';
import { hasPostgres, PostgresServer } from '../support/postgres.js';
import { hasRedis, RedisServer } from '../support/redis.js';
import { seeds, storm } from '../support/storm.js';
import { eventually } from '../support/wait.js';

/** A server that processes share. */
interface Shared {
	/** What one process has of it. */
	connect(): RealtimeBackend;
	/** What of its members it keeps for good. */
	left(): Promise<number>;
	stop(): Promise<void>;
	start(): Promise<void>;
	close(): Promise<void>;
}

const servers: Record<string, { isHere: boolean; start(): Promise<Shared> }> = {
	Redis: {
		isHere: hasRedis,
		async start() {
			const server = await RedisServer.start();
			return {
				connect: () =>
					redisBackend(new Redis(server.url, { lazyConnect: true }), { heartbeatMs: 300 }),
				async left() {
					const client = new Redis(server.url);
					const keys = await client.keys('*');
					const ttls = await Promise.all(keys.map((key) => client.pttl(key)));
					await client.quit();
					// An empty channel remembers its last version for a minute.
					return ttls.filter((ms) => ms > 61_000 || ms < 0).length;
				},
				stop: () => server.stop(),
				start: () => server.start(),
				close: () => server.close()
			};
		}
	},
	PostgreSQL: {
		isHere: hasPostgres,
		async start() {
			const server = await PostgresServer.start();
			const pools: pg.Pool[] = [];
			return {
				connect() {
					const pool = new pg.Pool({ connectionString: server.url });
					pools.push(pool);
					return postgresBackend(pool, { migrate: true, heartbeatMs: 1_000 });
				},
				async left() {
					// An empty channel remembers its last version for a minute.
					const [row] = await server.query(
						`select ((select count(*) from sveltekit_inngest.members) +
							(select count(*) from sveltekit_inngest.leases))::int as sum`
					);
					return Number(row!.sum);
				},
				stop: () => server.stop(),
				start: () => server.start(),
				async close() {
					await Promise.all(pools.map((pool) => pool.end()));
					await server.close();
				}
			};
		}
	}
};

describe.each(Object.keys(servers))('processes that share members through %s', (name) => {
	const { isHere, start: startServer } = servers[name]!;
	if (!isHere) return void test.skip('a server is needed', () => {});
	let shared: Shared;
	let people: People;
	const backends = new Map<Instance, RealtimeBackend>();

	// Each test has a server of its own, so that nobody is left from the one before.
	beforeEach(async () => {
		shared = await startServer();
		people = new People();
	}, 60_000);
	afterEach(async () => {
		await people.close();
		for (const backend of backends.values()) await backend.close?.();
		backends.clear();
		await shared.close();
	});

	async function start(options: Parameters<People['start']>[0] = {}): Promise<Instance> {
		const backend = shared.connect();
		const instance = await people.start({ backend, ...options });
		backends.set(instance, backend);
		return instance;
	}

	test('all see each other and each change, and hooks are called once', async () => {
		const presence = { graceMs: 0, schema: z.object({ x: z.number() }).partial() };
		const [one, other] = [await start({ presence }), await start({ presence })];
		const alice = await one.watch('alice');
		const bob = await other.watch('bob');
		const again = await other.watch('alice');
		for (const watcher of [alice, bob, again]) await watcher.shows(['alice', 'bob']);
		await eventually(() => bob.members.get('alice')?.streams === 2);
		expect((await alice.send({ data: { x: 7 } })).status).toBe(204);
		await eventually(() => (bob.members.get('alice')?.data as { x?: number }).x === 7);
		for (const { realtime } of [one, other]) {
			expect((await realtime.members(demoChannel)).map(({ id }) => id)).toEqual(['alice', 'bob']);
			expect(await realtime.readers(demoChannel)).toBe(3);
		}
		again.close();
		alice.close();
		await bob.shows(['bob']);
		await eventually(() => people.hooks.length === 3);
		expect(people.hooks).toEqual(['join alice', 'join bob', 'leave alice']);
	});

	test('a message to attributes reaches their streams in every process, and no other', async () => {
		const identify: NonNullable<Parameters<typeof start>[0]>['identify'] = ({ event }) => {
			const id = event.request.headers.get('x-user')!;
			const [team, place] = id.split('-');
			return { id, team: team!, isLead: place === '1' };
		};
		const instances = [await start({ identify }), await start({ identify })];
		const [one, other] = instances as [Instance, Instance];
		const watchers = new Map<string, Watcher>();
		for (const id of ['red-1', 'red-2', 'blue-1']) {
			for (const [index, instance] of instances.entries()) {
				const watcher = await instance.watch(id);
				await watcher.reader.connected();
				watchers.set(`${id} at ${index}`, watcher);
			}
		}
		const { message } = demoChannel();
		const emitTo = (from: Instance, target: RealtimeTarget, text: string): Promise<number> =>
			from.realtime.emitTo(target, message, { message: text });
		expect(await emitTo(one, { team: 'red' }, 'to red')).toBe(4);
		expect(await emitTo(other, { isLead: true }, 'to leads')).toBe(4);
		expect(await emitTo(one, { team: 'red', isLead: true }, 'to the lead of red')).toBe(2);
		expect(await emitTo(other, { team: 'green' }, 'to nobody')).toBe(0);
		await one.realtime.emit(message, { message: 'to all' });
		const red = ['to red', 'to leads', 'to the lead of red', 'to all'];
		const expected = {
			'red-1': red,
			'red-2': ['to red', 'to all'],
			'blue-1': ['to leads', 'to all']
		};
		for (const [id, texts] of Object.entries(expected)) {
			for (const index of instances.keys()) {
				const { reader } = watchers.get(`${id} at ${index}`)!;
				await reader.when(() => reader.texts.at(-1) === 'to all');
				expect(reader.texts).toEqual(texts);
			}
		}
	});

	test('members of a process that died leave once', async () => {
		const options = { heartbeatMs: 800, presence: { graceMs: 0 } };
		const instances = [await start(options), await start(options), await start(options)];
		const [dying, one, other] = instances as [Instance, Instance, Instance];
		for (const user of ['a', 'b', 'both']) await dying.watch(user);
		const watchers = [await one.watch('both'), await other.watch('c')];
		for (const watcher of watchers) await watcher.shows(['a', 'b', 'both', 'c']);
		await backends.get(dying)!.close!();
		dying.kill();
		for (const watcher of watchers) await watcher.shows(['both', 'c'], 10_000);
		await eventually(() => [...one.hooks, ...other.hooks].filter(isLeave).length === 2);
		// Longer than it takes every process to look again.
		await new Promise((resolve) => setTimeout(resolve, 1_000));
		expect([...one.hooks, ...other.hooks].filter(isLeave).sort()).toEqual(['leave a', 'leave b']);
	}, 40_000);

	test('while the server is away each process shows its own, and is right again afterwards', async () => {
		const options = { heartbeatMs: 400, presence: { graceMs: 0 } };
		const [one, other] = [await start(options), await start(options)];
		const alice = await one.watch('alice');
		const bob = await other.watch('bob');
		await alice.shows(['alice', 'bob']);
		await shared.stop();
		try {
			await alice.shows(['alice'], 15_000);
			await bob.shows(['bob'], 15_000);
		} finally {
			await shared.start();
		}
		const carol = await one.watch('carol');
		for (const watcher of [alice, bob, carol]) {
			await watcher.shows(['alice', 'bob', 'carol'], 20_000);
		}
		expect(people.hooks).toEqual(['join alice', 'join bob', 'join carol']);
	}, 60_000);

	// `JOINS=10000` is the long run.
	test('joins and leaves leave nothing behind', async () => {
		const { presence } = shared.connect();
		const connected = presence!;
		const leaseMs = 1_000;
		for (let from = 0; from < Number(process.env.JOINS ?? 1_000); from += 250) {
			await Promise.all(
				Array.from({ length: 250 }, async (_, n) => {
					const id = `member ${from + n}`;
					const channel = `channel ${n % 20}`;
					await connected.join(channel, 'me', { id, data: '{}', streams: 1 }, { leaseMs });
					expect(await connected.leave(channel, 'me', id)).toMatchObject({ id });
				})
			);
		}
		expect(await connected.members('channel 0')).toEqual([]);
		await new Promise((resolve) => setTimeout(resolve, leaseMs + 100));
		expect(await connected.renew('me', leaseMs)).toBe(0);
		expect(await connected.reap()).toEqual([]);
		expect(await shared.left()).toBe(0);
	}, 90_000);

	test.each(seeds())(
		'members come, go, reconnect and die with their process (seed %i)',
		async (seed) => {
			await storm(people, {
				seed,
				start,
				kill: async (instance) => {
					await backends.get(instance)!.close!();
					instance.kill();
				}
			});
		},
		90_000
	);

	test('senders are counted, and kept out, in all processes together', async () => {
		const limits = { rate: { points: 3, intervalMs: 3_600_000 } };
		const [one, other] = [await start({ limits }), await start({ limits })];
		for (const instance of [one, other, one]) await instance.watch('alice');
		const statusOf = async ({ server }: Instance, user: string): Promise<number> => {
			const response = await fetch(server.url, {
				method: 'POST',
				headers: { 'content-type': 'application/json', 'x-user': user },
				body: JSON.stringify({ channel: 'demo' })
			});
			await response.body?.cancel();
			return response.status;
		};
		expect(await statusOf(other, 'alice')).toBe(429);
		expect(await statusOf(other, 'bob')).toBe(200);
		await one.realtime.ban('bob', 60_000);
		expect(await statusOf(other, 'bob')).toBe(429);
	});
});

function isLeave(hook: string): boolean {
	return hook.startsWith('leave');
}
