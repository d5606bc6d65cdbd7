import { createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import {
	migrate,
	postgresBackend,
	type PostgresBackend,
	type PostgresBackendOptions,
	type PostgresClient
} from '../../../src/lib/postgres/index.js';
import { BusRecorder, message, texts } from '../../support/listeners.js';
import { hasPostgres, PostgresServer } from '../../support/postgres.js';
import { eventually } from '../../support/wait.js';

let server: PostgresServer;
let schema: string;
let schemas = 0;
const ends: (() => unknown)[] = [];

/** A pool as one process has it. */
function openPool(): pg.Pool {
	const pool = new pg.Pool({ connectionString: server.url });
	ends.push(() => pool.end());
	return pool;
}

/** The backend of one process. */
function connect(
	options: PostgresBackendOptions = {},
	client: PostgresClient = openPool()
): PostgresBackend {
	const backend = postgresBackend(client, {
		schema,
		migrate: true,
		heartbeatMs: 1_000,
		...options
	});
	ends.unshift(() => backend.close());
	return backend;
}

async function listen({ bus }: PostgresBackend, log: string): Promise<BusRecorder> {
	const recorder = new BusRecorder();
	bus.listen(log, recorder);
	await eventually(() => recorder.turns.includes('live'), 'the line to be live');
	return recorder;
}

const everything = async ({ replay }: PostgresBackend, log: string): Promise<unknown[]> =>
	texts((await replay.since(log, (await replay.bounds(log)).first)).events);

const count = async (table: string): Promise<number> =>
	Number((await server.query(`select count(*) from ${schema}.${table}`))[0]!.count);

describe.skipIf(!hasPostgres)('a PostgreSQL server', () => {
	beforeAll(async () => void (server = await PostgresServer.start()), 60_000);
	afterAll(() => server.close());
	beforeEach(() => void (schema = `app_${++schemas}`));
	afterEach(async () => {
		for (const end of ends.splice(0)) await end();
	});

	test('a database that was never migrated says so, and what to call', async () => {
		const { replay } = connect({ migrate: false });
		await expect(replay.bounds('log')).rejects.toMatchObject({
			code: 'BACKEND',
			message: expect.stringMatching(new RegExp(`"${schema}".*await migrate\\(client\\)`))
		});
		await migrate(openPool(), { schema });
		expect((await replay.bounds('log')).isNew).toBe(true);
	});

	test('ten processes migrate at once', async () => {
		await Promise.all(
			Array.from({ length: 10 }, (_, n) => {
				if (n % 2) return migrate(openPool(), { schema });
				const sql = postgres(server.url, { max: 1 });
				ends.push(() => sql.end({ timeout: 0 }));
				return migrate(sql, { schema });
			})
		);
		expect(await count('migrations')).toBe(2);
		expect((await connect({ migrate: false }).replay.bounds('log')).isNew).toBe(true);
	});

	test('a role that may create nothing works where everything is there', async () => {
		await migrate(openPool(), { schema });
		await server.query(`
			create role ${schema}_role login;
			grant usage on schema ${schema} to ${schema}_role;
			grant select, insert, update, delete on all tables in schema ${schema} to ${schema}_role;
		`);
		const pool = new pg.Pool({ connectionString: server.url.replace('app@', `${schema}_role@`) });
		ends.push(() => pool.end());
		const backend = connect({}, pool);
		await backend.bus.publish('log', message('allowed'));
		expect(await everything(backend, 'log')).toEqual(['allowed']);
	});

	test('a database of a newer version is refused if that version says so', async () => {
		await migrate(openPool(), { schema });
		await server.query(`insert into ${schema}.migrations values (999, false)`);
		await migrate(openPool(), { schema });
		await server.query(`insert into ${schema}.migrations values (1000, true)`);
		await expect(migrate(openPool(), { schema })).rejects.toMatchObject({
			code: 'BACKEND',
			message: expect.stringContaining('newer version')
		});
	});

	test('nothing is connected to before the first call, and errors name no secret', async () => {
		const connections: Socket[] = [];
		const silent = createServer((socket) => void connections.push(socket)).listen(0, '127.0.0.1');
		await new Promise((resolve) => silent.once('listening', resolve));
		const { port } = silent.address() as { port: number };
		const url = `postgres://someone:hunter2@127.0.0.1:${port}/secret-name`;
		const pool = new pg.Pool({ connectionString: url });
		const sql = postgres(url);
		const backends = [
			connect({ timeoutMs: 200 }, pool),
			connect({ timeoutMs: 200, migrate: false }, sql)
		];
		await delay(50);
		expect(connections).toEqual([]);
		for (const backend of backends) {
			const error: unknown = await backend.bus
				.publish('log', message('the payload'))
				.then(undefined, (error: unknown) => error);
			expect(error).toMatchObject({ code: 'BACKEND' });
			expect((error as Error).cause).toBeUndefined();
			const said = String((error as Error).stack) + JSON.stringify(error);
			expect(said).not.toMatch(/hunter2|someone|secret-name|payload|127\.0\.0\.1/);
		}
		expect(connections.length).toBeGreaterThan(0);
		for (const socket of connections) socket.destroy();
		silent.close();
		await sql.end({ timeout: 0 });
	});

	test('apps with different schemas do not see each other', async () => {
		const [one, other] = [connect(), connect({ schema: `${schema}_other` })];
		const [heard, unheard] = [await listen(one, 'log'), await listen(other, 'log')];
		await other.bus.publish('log', message('other', 'same key'));
		await one.bus.publish('log', message('one', 'same key'));
		await eventually(() => heard.told.length === 1 && unheard.told.length === 1);
		expect([texts(heard.told), texts(unheard.told)]).toEqual([['one'], ['other']]);
		expect(await everything(other, 'log')).toEqual(['other']);
	});

	test('what is asked for in one turn is one statement', async () => {
		const pool = openPool();
		const backend = connect({}, pool);
		await backend.replay.bounds('first');
		const connecting = vi.spyOn(pool, 'connect');
		const bounds = await Promise.all(
			Array.from({ length: 100 }, (_, n) => backend.replay.bounds(`log ${n}`))
		);
		expect(connecting).toHaveBeenCalledTimes(1);
		expect(new Set(bounds.map(({ last }) => last)).size).toBe(100);
		await backend.replay.append('log 1', [message('a'), message('b'), message('c')]);
		expect(connecting).toHaveBeenCalledTimes(2);
	});

	test('processes that open the same new logs in different orders do not lock each other out', async () => {
		const backends = [connect(), connect(), connect()];
		await backends[0]!.replay.bounds('first');
		const logs = Array.from({ length: 60 }, (_, n) => `log ${n}`);
		const opened = await Promise.all(
			backends.flatMap(({ replay }, n) =>
				(n === 1 ? logs.toReversed() : logs).map(async (log) => [
					log,
					(await replay.bounds(log)).last
				])
			)
		);
		expect(new Set(opened.map(String)).size).toBe(60);
	});

	test('sequences have no gap and follow commits, whoever writes and whatever is rolled back', async () => {
		const [one, other] = [connect(), connect()];
		const listener = await listen(other, 'log');
		const sql = postgres(server.url);
		ends.push(() => sql.end({ timeout: 0 }));
		await Promise.all(
			Array.from({ length: 60 }, async (_, n) => {
				if (n % 3 === 0) return one.bus.publish('log', message(`${n}`));
				if (n % 3 === 1) return other.replay.append('log', [message(`${n}`), message(`${n} too`)]);
				return sql
					.begin(async (tx) => {
						await one.bus.publish('log', message(`${n} in a transaction`), { tx });
						if (n % 2) throw new Error('rolled back');
					})
					.catch(() => {});
			})
		);
		const { events } = await one.replay.since('log', (await one.replay.bounds('log')).first);
		expect(events.map(({ cursor }) => Number(cursor.split('-')[1]))).toEqual(
			Array.from({ length: 20 + 40 + 10 }, (_, index) => index + 1)
		);
		await eventually(() => listener.told.length >= 70);
		expect(listener.told).toEqual(events);
	});

	test('a transaction of `pg` publishes when it commits, with what it wrote', async () => {
		const backend = connect();
		await server.query(`create schema ${schema}; create table ${schema}.orders (id int)`);
		const client = await openPool().connect();
		const listener = await listen(backend, 'log');
		for (const end of ['rollback', 'commit']) {
			await client.query('begin');
			await client.query(`insert into ${schema}.orders values (1)`);
			const { cursor, isDuplicate } = await backend.bus.publish('log', message(end, 'key'), {
				tx: client
			});
			expect([cursor.endsWith('-1'), isDuplicate]).toEqual([true, false]);
			await client.query(end);
		}
		client.release();
		await eventually(() => listener.told.length > 0);
		expect([texts(listener.told), await count('orders')]).toEqual([['commit'], 1]);
		expect(await everything(backend, 'log')).toEqual(['commit']);
		await expect(
			backend.bus.publish('log', message('x'), { tx: openPool() })
		).rejects.toMatchObject({ code: 'INVALID_OPTION' });
	});

	test('a call that the server takes up after it was given up writes nothing', async () => {
		const backend = connect({ timeoutMs: 500 });
		await backend.bus.publish('log', message('before'));
		await server.freeze();
		await expect(backend.bus.publish('log', message('given up'))).rejects.toMatchObject({
			code: 'BACKEND'
		});
		await server.thaw();
		await eventuallyAsync(async () => {
			const active = `select 1 from pg_stat_activity where state = 'active' and query like '%append%' and pid <> pg_backend_pid()`;
			return (await server.query(active)).length === 0;
		});
		await eventuallyAsync(() =>
			backend.bus.publish('log', message('after', 'after')).then(
				() => true,
				() => false
			)
		);
		expect(await everything(backend, 'log')).toEqual(['before', 'after']);
	});

	test('a transaction of the app that stays open holds up its log, and leaves no connection waiting', async () => {
		const pool = new pg.Pool({ connectionString: server.url, max: 2 });
		ends.push(() => pool.end());
		const backend = connect({ timeoutMs: 300 }, pool);
		await backend.replay.bounds('log');
		const holder = await openPool().connect();
		await holder.query('begin');
		await backend.bus.publish('log', message('held'), { tx: holder });
		for (const call of [
			() => backend.bus.publish('log', message('waits')),
			() => backend.replay.append('log', [message('waits')]),
			() => backend.replay.clear!('log')
		]) {
			await expect((async () => await call())()).rejects.toMatchObject({ code: 'BACKEND' });
		}
		expect(await everything(backend, 'other')).toEqual([]);
		const waiting = `select 1 from pg_stat_activity where wait_event_type = 'Lock'`;
		await eventuallyAsync(async () => (await server.query(waiting)).length === 0);
		await holder.query('commit');
		holder.release();
		await eventuallyAsync(() =>
			backend.bus.publish('log', message('goes on', 'goes on')).then(
				() => true,
				() => false
			)
		);
		expect(await everything(backend, 'log')).toEqual(['held', 'goes on']);
	});

	test('a line that is terminated comes back, and says that it was away', async () => {
		const [one, other] = [connect(), connect()];
		const listener = await listen(one, 'log');
		await server.query(
			`select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()`
		);
		await eventually(() => listener.turns.length === 3, 'the line to come back');
		expect(listener.turns).toEqual(['live', 'lost', 'live']);
		await eventuallyAsync(() =>
			other.bus.publish('log', message('back', 'back')).then(
				() => true,
				() => false
			)
		);
		await eventually(() => listener.told.length > 0);
		expect(texts(listener.told)).toEqual(['back']);
	});

	test('a process holds one line however many logs and backends listen, and none when nobody does', async () => {
		const pool = openPool();
		const [one, other] = [connect({}, pool), connect({ schema: `${schema}_other` }, pool)];
		const lines = async (): Promise<number> =>
			(
				await server.query(
					`select 1 from pg_stat_activity where pid <> pg_backend_pid() and query like '%pg_notify($1%'`
				)
			).length;
		const before = await lines();
		const stops = [one, other, one].map(({ bus }, n) => bus.listen(`log ${n}`, new BusRecorder()));
		await listen(one, 'log');
		await listen(other, 'log');
		expect((await lines()) - before).toBe(1);
		for (const stop of stops) stop();
		one.close();
		other.close();
		await eventuallyAsync(async () => (await lines()) === before);
		// The app's own client is still open.
		expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
		await expect(one.replay.bounds('log')).rejects.toMatchObject({ code: 'CLOSED' });
	});

	test('a process that starts learns whether another one is live', async () => {
		const [one, other, starting] = [connect(), connect(), connect()];
		const listener = await listen(one, 'log');
		await listen(other, 'log');
		await listen(starting, 'log');
		expect(await starting.bus.probe!('log', 150)).toBe(false);
		listener.receives = true;
		const answers = await Promise.all([
			starting.bus.probe!('log', 5_000),
			starting.bus.probe!('unknown', 300),
			starting.bus.probe!('log', 5_000)
		]);
		expect(answers).toEqual([true, false, true]);
		// Its own listeners say nothing about what it missed.
		expect(await one.bus.probe!('log', 150)).toBe(false);
	});

	test('notifications of others on the same channel do no harm', async () => {
		const backend = connect();
		const listener = await listen(backend, 'log');
		await server.query(`select pg_notify('${schema}_bus', text) from unnest(array[
			'', 'no json', 'null', '7', '[]', '{}', '{"ask":"x"}', '{"answer":"x"}', '{"log":"x","events":7}'
		]) as text`);
		await backend.bus.publish('log', message('heard'));
		await eventually(() => listener.told.length > 0);
		expect(texts(listener.told)).toEqual(['heard']);
	});

	test('where nothing can be listened to the logs are read now and then', async () => {
		const backend = connect({ listen: false, pollMs: 50 });
		const listener = await listen(backend, 'log');
		await eventually(() => listener.reads > 1, 'the log to be read');
		expect(listener.turns).toEqual(['live']);
	});

	test('a pooler that loses what is listened to is noticed, said, and made up for', async () => {
		const pool = openPool();
		const pooler = {
			waitReady: Promise.resolve(),
			query: (text: string, values?: unknown[]) => pool.query(text, values),
			exec: (text: string) => pool.query(text),
			listen: async () => async () => {}
		};
		const backend = connect({ listen: pooler, pollMs: 50 }, pool);
		const listener = new BusRecorder();
		backend.bus.listen('log', listener);
		await eventually(() => listener.turns.length > 0 && listener.reads > 1);
		expect(listener.turns).toEqual(['lost']);
		expect(listener.errors[0]!.message).toContain('`listen`');
	});

	test('what is out of bounds, or was left by everybody, is deleted', async () => {
		vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
		const backend = connect({ maxEvents: 3 });
		for (const text of ['1', '2', '3', '4', '5']) await backend.bus.publish('log', message(text));
		await backend.bus.publish('old', message('old'), { keyTtlMs: 60_000 });
		await backend.bus.publish('left', message('left'), { keyTtlMs: 1 });
		await backend.replay.bounds('never used');
		expect([await everything(backend, 'log'), await count('events')]).toEqual([['3', '4', '5'], 7]);

		const logs = `select log from ${schema}.logs where last`;
		await server.query(`
			update ${schema}.events set at = at - interval '10 minutes' where log in (${logs} = 5);
			update ${schema}.events set at = at - interval '2 hours' where log in (${logs} = 1);
			update ${schema}.logs set touched_at = touched_at - interval '2 days' where last < 2
				and log <> (select log from ${schema}.keys where expires_at > clock_timestamp());
		`);
		await vi.advanceTimersByTimeAsync(70_000);
		vi.useRealTimers();
		await eventuallyAsync(async () => (await count('events')) === 3);
		await eventuallyAsync(async () => (await count('logs')) === 2);
		// Another process: this one knows when the events came, and takes others for a log that was lost.
		expect(await everything(connect({ maxEvents: 3 }), 'log')).toEqual(['3', '4', '5']);
		// A key lives for as long as was asked for, whatever became of its event.
		expect(await count('keys')).toBe(1);
		expect(await everything(connect(), 'old')).toEqual([]);
	});

	test('bounds may be endless', async () => {
		const backend = connect();
		backend.replay.limit!('log', { maxEvents: Infinity, maxAgeMs: Infinity });
		await backend.bus.publish('log', message('kept', 'key'), { keyTtlMs: Infinity });
		await backend.replay.append('log', [message('too')]);
		expect(await everything(backend, 'log')).toEqual(['kept', 'too']);
		expect(await count('keys')).toBe(1);
	});

	test('options that are not valid are refused at once', () => {
		const pool = openPool();
		for (const options of [
			{ schema: 'a"b' },
			{ schema: 'x'.repeat(56) },
			{ maxEvents: 0 },
			{ timeoutMs: Infinity },
			{ pollMs: 0.5 }
		]) {
			expect(() => postgresBackend(pool, options)).toThrow(
				expect.objectContaining({ code: 'INVALID_OPTION' })
			);
		}
		for (const client of [undefined, {}, new pg.Client()]) {
			expect(() => postgresBackend(client as never)).toThrow(
				expect.objectContaining({ code: 'INVALID_OPTION' })
			);
		}
	});
});

async function eventuallyAsync(condition: () => PromiseLike<boolean>): Promise<void> {
	for (const deadline = Date.now() + 10_000; !(await condition());) {
		if (Date.now() > deadline) throw new Error('Waited in vain for a condition.');
		await delay(20);
	}
}
