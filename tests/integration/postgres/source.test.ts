import pg from 'pg';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
	postgresSource,
	triggerSql,
	type PostgresClient,
	type PostgresSourceOptions,
	type RowChange
} from '../../../src/lib/postgres/index.js';
import type { RealtimeSource } from '../../../src/lib/server/hub/source.js';
import { SourceRecorder } from '../../support/listeners.js';
import { hasPostgres, PostgresServer } from '../../support/postgres.js';
import { eventually } from '../../support/wait.js';

const schema = 'live';
let server: PostgresServer;
let tables = 0;
let table: string;
const ends: (() => unknown)[] = [];

function openPool(): pg.Pool {
	const pool = new pg.Pool({ connectionString: server.url });
	ends.push(() => pool.end());
	return pool;
}

const asMessage = (change: RowChange): { topic: string; data: unknown } => ({
	topic: 'row',
	data: change
});

/** A source as one process has it, and somebody who listens to it. */
async function open(
	options: Partial<PostgresSourceOptions> = {},
	client: PostgresClient = openPool()
): Promise<{ source: RealtimeSource; listener: SourceRecorder }> {
	const source = postgresSource(client, {
		table,
		schema,
		heartbeatMs: 1_000,
		map: asMessage,
		...options
	});
	ends.unshift(() => source.close());
	const listener = new SourceRecorder('orders', ['row', 'note']);
	source.listen(listener);
	await eventually(() => listener.turns.includes('live'), 'the source to be live');
	return { source, listener };
}

const create = (columns = 'id int primary key, status text, note text'): Promise<unknown> =>
	server.query(`create table ${table} (${columns})`);

const watch = (options: { key?: string | string[]; columns?: string[] } = {}): Promise<unknown> =>
	server.query(triggerSql({ table, schema, key: 'id', ...options }));

describe.skipIf(!hasPostgres)('rows of a PostgreSQL server', () => {
	beforeAll(async () => void (server = await PostgresServer.start()), 60_000);
	afterAll(() => server.close());
	beforeEach(() => void (table = `orders_${++tables}`));
	afterEach(async () => {
		for (const end of ends.splice(0)) await end();
	});

	test('a row that is created, updated and deleted is three messages, the same in every process', async () => {
		await create();
		await watch();
		const sql = postgres(server.url);
		ends.push(() => sql.end({ timeout: 0 }));
		const sides = [await open(), await open({}, sql)];
		await server.query(`insert into ${table} values (1, 'new', 'größe 😀')`);
		await server.query(`update ${table} set status = 'paid'`);
		await server.query(`delete from ${table}`);
		const created = { id: 1, status: 'new', note: 'größe 😀' };
		const paid = { ...created, status: 'paid' };
		const about = { table: `public.${table}`, key: { id: 1 } };
		for (const { listener } of sides) {
			await eventually(() => listener.messages.length === 3);
			expect(listener.data).toEqual([
				{ ...about, operation: 'insert', row: created, old: null },
				{ ...about, operation: 'update', row: paid, old: created },
				{ ...about, operation: 'delete', row: null, old: paid }
			]);
			expect(listener.turns).toEqual(['live']);
		}
		const keys = sides.map(({ listener }) => listener.messages.map((message) => message.key()));
		expect(keys[1]).toEqual(keys[0]);
		expect(new Set(keys[0]).size).toBe(3);
		const { kind, channel, topic, createdAt } = sides[0]!.listener.messages[0]!;
		expect([kind, channel, topic]).toEqual(['data', 'orders', 'row']);
		expect(Math.abs(Date.now() - Date.parse(createdAt!))).toBeLessThan(60_000);
	});

	test('changes of one transaction come in order, also back and forth, and only when it commits', async () => {
		await create();
		await watch();
		const { listener } = await open();
		await server.query(`begin; insert into ${table} values (7, 'gone', ''); rollback`);
		const flips = Array.from({ length: 20 }, (_, n) => `update ${table} set status = '${n % 2}'`);
		await server.query(
			`begin; insert into ${table} values (1, 'x', ''); ${flips.join(';')}; commit`
		);
		await eventually(() => listener.messages.length === 21);
		expect((listener.data as RowChange[]).map(({ row }) => row!.status)).toEqual([
			'x',
			...flips.map((_, n) => String(n % 2))
		]);
		expect(new Set(listener.messages.map((message) => message.key())).size).toBe(21);
	});

	test('a row of 1 MB is written, and read by its key', async () => {
		await create();
		await watch();
		const { listener } = await open();
		await server.query(`insert into ${table} values (1, 'long', repeat('€', 400000))`);
		await server.query(`insert into ${table} values (2, 'short', '')`);
		await server.query(`update ${table} set status = 'longer' where id = 1`);
		await server.query(`update ${table} set note = 'now short' where id = 1`);
		await eventually(() => listener.messages.length === 4);
		const seen = (listener.data as RowChange[]).map(({ key, row, old }) => [
			key.id,
			row!.status,
			old && String(old.note).length
		]);
		// The row is read as it is then; it was long before the last update, which is left out.
		expect(seen.map(([id]) => id)).toEqual([1, 2, 1, 1]);
		expect(seen[1]).toEqual([2, 'short', null]);
		expect(seen[3]).toEqual([1, 'longer', null]);
		expect(listener.turns).toEqual(['live']);
	});

	test('only the columns that are named are announced, also of a row that is too long', async () => {
		await create('id int primary key, status text, secret text');
		await watch({ columns: ['id', 'status'] });
		const { listener } = await open();
		await server.query(`insert into ${table} values (1, 'short', 'hunter2')`);
		await server.query(`update ${table} set secret = 'hunter3'`);
		await server.query(`update ${table} set status = repeat('x', 10000)`);
		await eventually(() => listener.messages.length === 2);
		const rows = (listener.data as RowChange[]).map(({ row }) => row);
		expect(rows).toEqual([
			{ id: 1, status: 'short' },
			{ id: 1, status: 'x'.repeat(10_000) }
		]);
	});

	test('keys of several columns, of any type and name, find their row', async () => {
		table = `shop."Odd ""Name"" ${tables}"`;
		const name = `shop.Odd "Name" ${tables}`;
		await server.query('create schema if not exists shop');
		await create('"Account Id" bigint, at timestamptz, body text, primary key ("Account Id", at)');
		await server.query(triggerSql({ table: name, schema, key: ['Account Id', 'at'] }));
		const { listener } = await open({ table: name });
		await server.query(
			`insert into ${table} values (9007199254740993, '2026-11-27 10:00+00', repeat('x', 9000)),
				(9007199254740992, '2026-11-27 10:00+00', repeat('y', 9000))`
		);
		await eventually(() => listener.messages.length === 2);
		expect((listener.data as RowChange[]).map(({ row }) => String(row!.body)[0])).toEqual([
			'x',
			'y'
		]);
	});

	test.each([undefined, ['status']])(
		'an update that changes the key is another row, with the columns %s',
		async (columns) => {
			await create();
			await watch({ ...(columns && { columns }) });
			const { listener } = await open();
			await server.query(`insert into ${table} values (1, 'new', repeat('x', 5000))`);
			await server.query(`update ${table} set id = 2`);
			await eventually(() => listener.messages.length === 3);
			const changes = listener.data as RowChange[];
			expect(changes.map(({ operation, key }) => [operation, key])).toEqual([
				['insert', { id: 1 }],
				['delete', { id: 1 }],
				['insert', { id: 2 }]
			]);
			expect(changes[1]).toMatchObject({ row: null, old: { status: 'new' } });
			expect(changes[2]).toMatchObject({ row: { status: 'new' }, old: null });
		}
	);

	test('rows of a table in partitions are announced as rows of the table', async () => {
		await server.query(
			`create table ${table} (id int, status text) partition by list (status);
			create table ${table}_new partition of ${table} for values in ('new');
			create table ${table}_paid partition of ${table} for values in ('paid')`
		);
		await watch();
		const { listener } = await open();
		await server.query(`insert into ${table} values (1, 'new')`);
		await server.query(`update ${table} set status = 'paid'`);
		await server.query(`insert into ${table}_new values (2, 'new')`);
		await eventually(() => listener.messages.length === 4);
		const changes = listener.data as RowChange[];
		expect(changes.map(({ table, operation, key }) => [table, operation, key.id])).toEqual([
			[`public.${table}`, 'insert', 1],
			[`public.${table}`, 'delete', 1],
			[`public.${table}`, 'insert', 1],
			[`public.${table}`, 'insert', 2]
		]);
		await server.query(`truncate ${table}`);
		await eventually(() => listener.turns.length === 2);
	});

	test('what cannot be announced fails no write, and makes readers load again', async () => {
		await create('id text primary key, status text, note text');
		await watch();
		const { listener } = await open();
		await server.query(
			`insert into ${table} values (repeat('k', 2000) || repeat('€', 2500), '', '')`
		);
		await eventually(() => listener.turns.length === 2);
		await server.query(`truncate ${table}`);
		await eventually(() => listener.turns.length === 3);
		// A trigger that was made for columns which are gone since.
		await server.query(`alter table ${table} rename column id to number`);
		await server.query(`insert into ${table} values ('1', '', '')`);
		await eventually(() => listener.messages.length === 1 || listener.turns.length === 4);
		expect(listener.turns.slice(0, 3)).toEqual(['live', 'gap', 'gap']);
		expect(await server.query(`select number from ${table}`)).toEqual([{ number: '1' }]);
	});

	test('changes are filtered and mapped to messages of the channels that they belong to', async () => {
		await create();
		await watch();
		const { source } = await open({
			filter: ({ row }) => row?.status !== 'draft',
			map: ({ row }) => [
				{ topic: 'row', data: row!.id, channel: `order:${String(row!.id)}` },
				{ topic: 'note', data: row!.note },
				{ topic: 'unknown', data: 'to nobody' }
			]
		});
		const listeners = ['order:1', 'order:2'].map((channel) => {
			const listener = new SourceRecorder(channel, ['row', 'note']);
			source.listen(listener);
			return listener;
		});
		await eventually(() => listeners.every(({ turns }) => turns.length === 1));
		await server.query(`insert into ${table} values (1, 'draft', 'a')`);
		await server.query(`insert into ${table} values (1, 'sent', 'b'), (2, 'sent', 'c')
			on conflict (id) do update set status = 'sent', note = 'b'`);
		await eventually(() => listeners.every(({ messages }) => messages.length === 3));
		expect(listeners.map(({ data }) => data)).toEqual([
			[1, 'b', 'c'],
			['b', 2, 'c']
		]);
		const [first, second] = listeners[0]!.messages;
		expect(first!.key()).not.toBe(second!.key());
	});

	test('a mapping that throws is reported, and makes readers load again', async () => {
		await create();
		await watch();
		const errors: unknown[] = [];
		const { listener } = await open({
			map: (change) => {
				if (change.row!.status === 'bad') throw new Error('no such status');
				return { topic: 'row', data: change.row!.id };
			},
			onError: (error, of) => {
				errors.push([(error as Error).message, of]);
				throw new Error('and the report fails too');
			}
		});
		await server.query(`insert into ${table} values (1, 'bad', ''), (2, 'good', '')`);
		await eventually(() => listener.messages.length === 1);
		expect([errors, listener.turns, listener.data]).toEqual([
			[['no such status', `public.${table}`]],
			['live', 'gap'],
			[2]
		]);
	});

	test('a line that is lost is told, and once more when changes arrive again', async () => {
		await create();
		await watch();
		const { source, listener } = await open();
		expect([source.state, source.sockets]).toEqual(['open', 1]);
		await server.query(
			'select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()'
		);
		await eventually(() => listener.turns.includes('lost'));
		await eventually(() => listener.turns.at(-1) === 'live');
		expect(listener.turns.filter((turn) => turn !== 'failed')).toEqual(['live', 'lost', 'live']);
		await server.query(`insert into ${table} values (1, 'new', '')`);
		await eventually(() => listener.messages.length === 1);
		source.close();
		expect([source.state, source.sockets]).toEqual(['closed', 0]);
	});

	test('a server that is away is told as a failure until it is there', async () => {
		const pool = new pg.Pool({ host: '127.0.0.1', port: 1, user: 'someone', password: 'hunter2' });
		const source = postgresSource(pool, { table, map: asMessage });
		const listener = new SourceRecorder('orders', ['row']);
		const stop = source.listen(listener);
		await eventually(() => listener.errors.length > 0);
		expect(listener.turns[0]).toBe('failed');
		expect(String(listener.errors[0])).not.toMatch(/hunter2|someone|127/);
		stop();
		await eventually(() => source.state === 'idle');
		await pool.end();
	});

	test('the trigger may be made again, and other notifications are ignored', async () => {
		await create();
		await watch();
		await watch({ columns: ['id'] });
		const { listener } = await open();
		await server.query(`select pg_notify('${schema}_rows', text) from
			unnest(array['', 'no json', '{"table":"public.other"}', 'null', '7']) as text`);
		await server.query(`insert into ${table} values (1, 'new', '')`);
		await eventually(() => listener.messages.length > 0);
		expect((listener.data as RowChange[]).map(({ row }) => row)).toEqual([{ id: 1 }]);
	});

	test('names that are not valid are refused at once', () => {
		for (const options of [
			{ table: '', key: 'id' },
			{ table: 'a.b.c', key: 'id' },
			{ table: 'a', key: [] },
			{ table: 'a', key: '' },
			{ table: 'a', key: 'id', columns: [] },
			{ table: 'a', key: 'id', schema: 'b"c' }
		]) {
			expect(() => triggerSql(options), JSON.stringify(options)).toThrow(
				expect.objectContaining({ code: 'INVALID_OPTION' })
			);
		}
		expect(() => postgresSource(new pg.Pool(), { table: 'a' } as never)).toThrow(
			expect.objectContaining({ code: 'INVALID_OPTION' })
		);
	});
});
