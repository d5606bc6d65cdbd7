import { Redis } from 'ioredis';
import { AsyncLocalStorage } from 'node:async_hooks';
import { inspect } from 'node:util';
import { createClient, RESP_TYPES } from 'redis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
	redisBackend,
	type RedisBackend,
	type RedisBackendOptions,
	type RedisClient
} from '../../../src/lib/redis/index.js';
import type { BusListener } from '../../../src/lib/server/backend/backend.js';
import type { ReplayedEvent, ReplayEvent } from '../../../src/lib/server/backend/replay.js';
import { SilentProxy } from '../../support/proxy.js';
import { hasRedis, RedisServer } from '../../support/redis.js';
import { eventually } from '../../support/wait.js';
import { clients, names } from './clients.js';

const event = (text: string, more: Partial<ReplayEvent> = {}): ReplayEvent => ({
	key: `key of ${text}`,
	kind: 'message',
	topic: 'topic',
	payload: JSON.stringify(text),
	...more
});

const texts = (events: readonly ReplayedEvent[]): unknown[] =>
	events.map(({ payload }) => JSON.parse(payload));

describe.skipIf(!hasRedis)('Redis', () => {
	let server: RedisServer;
	const open: RedisBackend[] = [];

	beforeAll(async () => void (server = await RedisServer.start()));
	afterAll(() => server.close());
	beforeEach(() => server.flush());
	afterEach(() => {
		for (const backend of open.splice(0)) backend.close();
	});

	function backendOf(client: RedisClient, options: RedisBackendOptions = {}): RedisBackend {
		const backend = redisBackend(client, { timeoutMs: 1_000, heartbeatMs: 200, ...options });
		open.push(backend);
		return backend;
	}

	const connect = (options?: RedisBackendOptions, name = 'redis 6'): RedisBackend =>
		backendOf(clients[name]!(server.url, false), options);

	/** Listens, and waits until it is heard. */
	async function listen({ bus }: RedisBackend, log: string) {
		const told: ReplayedEvent[] = [];
		const turns: string[] = [];
		const listener: BusListener = {
			events: (events) => told.push(...events),
			live: () => turns.push('live'),
			lost: () => turns.push('lost')
		};
		const stop = bus.listen(log, listener);
		await eventually(() => turns.at(-1) === 'live', 'the listener to be live');
		return { told, turns, stop };
	}

	/** How often Redis was asked for a command by clients; what scripts do is not counted. */
	async function calls(...commands: string[]): Promise<number[]> {
		const stats = await server.command('INFO', 'commandstats');
		return commands.map((name) =>
			Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
		);
	}

	describe('what it costs', () => {
		test('a burst is one command, announced and read back in the same one', async () => {
			const { replay, bus } = connect();
			const burst = Array.from({ length: 100 }, (_, n) => event(`${n}`));
			const append = (log: string) => replay.append(log, burst);
			const appendAndRead = (log: string, cursor: string) =>
				replay.appendAndRead!(log, [event('next')], cursor, 1_000);
			const publish = (log: string) => bus.publish(log, event('last'), { keyTtlMs: 1 });
			const start = (await replay.bounds('log')).last;
			// Redis has the scripts from now on.
			await append('other');
			await appendAndRead('other', start);
			await publish('other');
			await server.command('CONFIG', 'RESETSTAT');
			await append('log');
			expect(await calls('eval', 'evalsha')).toEqual([0, 1]);
			expect((await appendAndRead('log', start)).events.length).toBe(101);
			expect(await calls('eval', 'evalsha')).toEqual([0, 2]);
			await publish('log');
			expect(await calls('eval', 'evalsha')).toEqual([0, 3]);
		});

		test.each(names)('a hundred logs are one subscription, through %s', async (name) => {
			const backend = connect({}, name);
			const logs = Array.from({ length: 100 }, (_, n) => `log ${n}`);
			await server.command('CONFIG', 'RESETSTAT');
			const listeners = await Promise.all([...logs, ...logs].map((log) => listen(backend, log)));
			expect(await calls('subscribe')).toEqual([1]);
			for (const { stop } of listeners.slice(1, 100)) stop();
			for (const { stop } of listeners.slice(101)) stop();
			const left = () => server.list('PUBSUB', 'CHANNELS', '*:{*');
			await expect.poll(async () => (await left()).length).toBe(1);
			expect(await calls('unsubscribe')).toEqual([1]);
		});

		test('nobody listening holds no connection', async () => {
			const subscribers = () => server.list('CLIENT', 'LIST', 'TYPE', 'pubsub');
			const { stop } = await listen(connect(), 'log');
			expect((await subscribers()).length).toBe(1);
			stop();
			await expect.poll(subscribers).toEqual([]);
		});

		test('its connections do not hold the process open', async () => {
			const sockets = () =>
				process.getActiveResourcesInfo().filter((name) => /TCPSocketWrap/.test(name)).length;
			const before = sockets();
			for (const name of Object.keys(clients)) {
				const backend = connect({}, name);
				await listen(backend, 'log');
				await backend.replay.append('log', [event(name)]);
			}
			expect(sockets()).toBe(before);
		});
	});

	describe('what it leaves', () => {
		test('every key expires, and all keys of a log have one hash tag', async () => {
			const { replay, bus } = connect({ maxAgeMs: 60_000 });
			await replay.append('a {b} c', [event('1')]);
			await bus.publish('a {b} c', event('2'), { keyTtlMs: 1 });
			await replay.bounds('only looked at');
			const keys = await server.list('KEYS', '*');
			expect(keys.length).toBe(5);
			for (const key of keys) {
				const [, ttlMs] = /:(-?\d+)/.exec(await server.command('PTTL', key))!;
				const isRemembered = key.includes(':key:');
				expect(Number(ttlMs), key).toBeGreaterThan(isRemembered ? 47.9 * 3_600_000 : 50_000);
				expect(Number(ttlMs), key).toBeLessThanOrEqual(isRemembered ? 48 * 3_600_000 : 120_000);
			}
			const tags = keys.map((key) => /\{([^{}]+)\}/.exec(key)![1]);
			expect(new Set(tags).size).toBe(2);
			expect(keys.join()).not.toMatch(/a \{b\}|key of/);
		});

		test('closing ends its own connections and nothing of the client', async () => {
			for (const client of [createClient({ url: server.url }), new Redis(server.url)]) {
				client.on('error', () => {});
				if (client instanceof Redis) await client.ping();
				else await client.connect();
				const before = (await server.list('CLIENT', 'LIST')).length;
				const backend = backendOf(client);
				await listen(backend, 'log');
				await backend.replay.append('log', [event('1')]);
				backend.close();
				await expect.poll(async () => (await server.list('CLIENT', 'LIST')).length).toBe(before);
				expect(await (client instanceof Redis ? client.ping() : client.sendCommand(['PING']))).toBe(
					'PONG'
				);
				await expect(backend.replay.bounds('log')).rejects.toThrow('closed');
				await (client instanceof Redis ? client.disconnect() : client.destroy());
			}
		});
	});

	describe('two apps on one Redis', () => {
		const apart: [string, (url: string) => [RedisBackend, RedisBackend]][] = [
			[
				'with different prefixes',
				(url) => [
					backendOf(createClient({ url }), { prefix: 'a' }),
					backendOf(createClient({ url }), { prefix: 'b' })
				]
			],
			[
				'in different databases',
				(url) => [
					backendOf(createClient({ url })),
					backendOf(new Redis(`${url}/1`, { lazyConnect: true }))
				]
			],
			[
				'with clients of different key prefixes',
				(url) => [
					backendOf(new Redis(url, { keyPrefix: 'a:', lazyConnect: true })),
					backendOf(new Redis(url, { keyPrefix: 'b:', lazyConnect: true }))
				]
			]
		];
		test.each(apart)('do not see each other %s', async (_, create) => {
			const [one, other] = create(server.url);
			const here = await listen(one, 'log');
			const there = await listen(other, 'log');
			await one.replay.append('log', [event('one')]);
			await other.replay.append('log', [event('other')]);
			await eventually(() => here.told.length > 0 && there.told.length > 0, 'announcements');
			expect([texts(here.told), texts(there.told)]).toEqual([['one'], ['other']]);
			const { first } = await one.replay.bounds('log');
			expect(texts((await one.replay.since('log', first)).events)).toEqual(['one']);
		});

		test('apps of one prefix share, whichever library they use', async () => {
			const backends = Object.keys(clients).map((name) => connect({}, name));
			const listeners = await Promise.all(backends.map((backend) => listen(backend, 'log')));
			for (const [index, { bus }] of backends.entries())
				await bus.publish('log', event(`${index}`));
			for (const { told } of listeners) {
				await eventually(() => told.length === 4, 'the announcements');
				expect(texts(told)).toEqual(['0', '1', '2', '3']);
			}
		});
	});

	describe('what a client brings along', () => {
		test('replies as buffers, a password, a strategy that gives up, and a database', async () => {
			await server.command('ACL', 'SETUSER', 'app', 'on', '>pa:ss@word', '~*', '&*', '+@all');
			const options = { username: 'app', password: 'pa:ss@word', database: 3 };
			const giveUp = new Error('given up');
			const one = createClient({
				...options,
				socket: { host: '127.0.0.1', port: server.port, reconnectStrategy: () => giveUp },
				commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } }
			});
			const url = `redis://app:${encodeURIComponent(options.password)}@127.0.0.1:${server.port}/3`;
			const backends = [
				one,
				createClient({ url, pingInterval: 50 }),
				new Redis(url, {
					lazyConnect: true,
					stringNumbers: true,
					enableAutoPipelining: true,
					retryStrategy: () => null,
					commandTimeout: 1
				})
			].map((client) => backendOf(client));
			const listeners = await Promise.all(backends.map((backend) => listen(backend, 'log')));
			for (const [index, { replay }] of backends.entries()) {
				await replay.append('log', [event(`${index} €`)]);
			}
			const { first } = await backends[0]!.replay.bounds('log');
			for (const [index, { replay }] of backends.entries()) {
				const slice = await replay.since('log', first);
				expect(texts(slice.events)).toEqual(['0 €', '1 €', '2 €']);
				await eventually(() => listeners[index]!.told.length === 3, 'the announcements');
				expect(listeners[index]!.told).toEqual(slice.events);
			}
			await server.command('CLIENT', 'KILL', 'USER', 'app');
			for (const [index, { replay }] of backends.entries()) {
				await eventually(() => listeners[index]!.turns.length === 3, 'the line to come back');
				await expect.poll(async () => replay.bounds('log')).toMatchObject({ isNew: false });
			}
		});

		test('not the async context of the request that came first', async () => {
			const storage = new AsyncLocalStorage<string>();
			const backend = connect();
			const seen: unknown[] = [];
			await storage.run('a request', async () => {
				let live = false;
				backend.bus.listen('log', {
					events: () => seen.push(storage.getStore()),
					live: () => {
						live = true;
						seen.push(storage.getStore());
					},
					lost: () => {}
				});
				await backend.bus.publish('log', event('0'));
				await eventually(() => live, 'the listener to be live');
			});
			await backend.bus.publish('log', event('1'));
			await eventually(() => seen.length > 1, 'the announcement');
			expect(new Set(seen)).toEqual(new Set([undefined]));
		});
	});

	describe('when something is missing', () => {
		test('a script that Redis forgot is sent again', async () => {
			const { replay } = connect();
			await replay.append('log', [event('1')]);
			await server.command('SCRIPT', 'FLUSH');
			expect(await replay.append('log', [event('2')])).toEqual([expect.stringMatching(/-2$/)]);
		});

		test.each([
			[':meta', { events: [], missed: 'restart' }, /-1$/],
			[':log', { events: [], missed: 'expired' }, /-4$/],
			[':keys', { missed: undefined }, /-4$/]
		])('the eviction of %s alone is noticed', async (suffix, slice, next) => {
			const { replay } = connect();
			const [cursor] = await replay.append(
				'log',
				['1', '2', '3'].map((text) => event(text))
			);
			const keys = (await server.list('KEYS', '*')).filter((key) => key.endsWith(suffix));
			expect(keys.length).toBe(1);
			await server.command('DEL', keys[0]!);
			const { events, missed } = await replay.since('log', cursor!);
			expect({ events, missed }).toMatchObject(slice);
			const [appended] = await replay.append('log', [event('new')]);
			expect(appended).toMatch(next);
			const { first } = await replay.bounds('log');
			const after = await replay.since('log', first);
			expect([texts(after.events).at(-1), after.missed]).toEqual(['new', undefined]);
		});

		test('trimming that fails does not fail an append', async () => {
			const commands = ['-xtrim', '-zremrangebyscore', '-info'];
			await server.command('ACL', 'SETUSER', 'weak', 'on', '>w', '~*', '&*', '+@all', ...commands);
			const { replay } = backendOf(
				createClient({ url: `redis://weak:w@127.0.0.1:${server.port}` }),
				{ maxEvents: 2 }
			);
			const cursors = [];
			for (const text of ['1', '2', '3'])
				cursors.push(...(await replay.append('log', [event(text)])));
			expect(texts((await replay.since('log', cursors[0]!)).events)).toEqual(['2', '3']);
		});

		test('what Redis refuses is said without payload, password or address', async () => {
			await server.command(
				'ACL',
				'SETUSER',
				'reader',
				'on',
				'>topsecret',
				'~other*',
				'&*',
				'+@all'
			);
			const url = (password: string, port = server.port) =>
				`redis://reader:${password}@127.0.0.1:${port}`;
			for (const create of Object.values(clients)) {
				for (const [client, code] of [
					[create(url('topsecret'), false), 'NOPERM'],
					[create(url('topsecret2'), false), 'WRONGPASS'],
					[create(url('topsecret', 1), false), 'ECONNREFUSED'],
					[create(url('topsecret', 1), true), undefined]
				] as const) {
					const { replay, bus } = backendOf(client);
					const lost: Error[] = [];
					bus.listen('log', { events() {}, live() {}, lost: (error) => lost.push(error) });
					let error: unknown;
					try {
						await replay.append('log', [event('payload')]);
					} catch (thrown) {
						error = thrown;
					}
					if (code) expect(error).toMatchObject({ code });
					else expect(error).toBeInstanceOf(Error);
					for (const each of [error, ...lost]) {
						expect(inspect(each, { depth: 9, showHidden: true })).not.toMatch(
							/payload|topsecret|127\.0\.0\.1/
						);
					}
				}
			}
		});

		test('a server that takes no writes any more is left, and found again', async () => {
			const { replay } = connect();
			await replay.append('log', [event('1')]);
			await server.command('REPLICAOF', '127.0.0.1', '1');
			await expect(replay.append('log', [event('2')])).rejects.toThrow(/READONLY/);
			await server.command('REPLICAOF', 'NO', 'ONE');
			const [cursor] = await replay.append('log', [event('3')]);
			expect(cursor).toMatch(/-2$/);
		});

		test.each(names)('%s waits for a Redis that comes late', async (name) => {
			const late = await RedisServer.start();
			await late.stop();
			try {
				const backend = backendOf(clients[name]!(late.url, false));
				await expect(backend.replay.bounds('log')).rejects.toThrow(/ECONNREFUSED/);
				const turns: string[] = [];
				backend.bus.listen('log', {
					events() {},
					live: () => turns.push('live'),
					lost: () => turns.push('lost')
				});
				await eventually(() => turns.length > 0, 'the loss');
				await late.start();
				await eventually(() => turns.length > 1, 'the line');
				expect(turns).toEqual(['lost', 'live']);
			} finally {
				await late.close();
			}
		});

		test.each(names)('a line of %s that hears nothing is replaced', async (name) => {
			const proxy = await SilentProxy.start(server.port);
			try {
				const backend = backendOf(clients[name]!(`redis://127.0.0.1:${proxy.port}`, false));
				const { told, turns } = await listen(backend, 'log');
				expect(proxy.silence('SUBSCRIBE')).toBe(1);
				await eventually(() => turns.length === 3, 'the line to be replaced');
				expect(turns).toEqual(['live', 'lost', 'live']);
				await backend.bus.publish('log', event('1'));
				await eventually(() => told.length > 0, 'the announcement');
			} finally {
				proxy.close();
			}
		});

		test.each(names)(
			'a line of %s that cannot be opened in time is told once, and why',
			async (name) => {
				const backend = connect({ timeoutMs: 200 }, name);
				const lost: string[] = [];
				let isLive = false;
				server.freeze();
				try {
					backend.bus.listen('log', {
						events() {},
						live: () => void (isLive = true),
						lost: ({ message }) => lost.push(message)
					});
					await eventually(() => lost.length > 0, 'the loss');
				} finally {
					server.thaw();
				}
				await eventually(() => isLive, 'the line');
				expect(lost).toEqual(['Redis has not answered for 0.2 s.']);
			}
		);

		test('subscriptions that the server ends are noticed', async () => {
			const backend = connect();
			const { turns, told } = await listen(backend, 'log');
			await server.command('CLIENT', 'KILL', 'TYPE', 'pubsub');
			await eventually(() => turns.length === 3, 'the line to come back');
			await backend.bus.publish('log', event('1'));
			await eventually(() => told.length > 0, 'the announcement');
			expect(turns).toEqual(['live', 'lost', 'live']);
		});
	});
});
