import { channel, topic } from '@inngest/realtime';
import pg from 'pg';
import { z } from 'zod';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startInngestDev, type InngestDev } from '../../../src/lib/dev/index.js';
import {
	migrate,
	postgresBackend,
	postgresSource,
	triggerSql,
	type PostgresSourceOptions
} from '../../../src/lib/postgres/index.js';
import { createRealtime, type Realtime } from '../../../src/lib/server/index.js';
import { demoChannel } from '../../support/channels.js';
import { hasPostgres, PostgresServer } from '../../support/postgres.js';
import { serve } from '../../support/server.js';
import { openStream, type SseReader } from '../../support/sse.js';
import { inngestAt } from '../../support/world.js';

const ordersChannel = channel('orders').addTopic(
	topic('order').schema(z.object({ id: z.number(), status: z.string() }))
);

const orders: PostgresSourceOptions<{ id: number; status: string }> = {
	table: 'orders',
	map: ({ row }) => row && { topic: 'order', data: { id: row.id, status: row.status } }
};

/** One of several processes of an app. */
interface Instance {
	realtime: Realtime;
	pool: pg.Pool;
	open(channel: string, lastEventId?: string): Promise<SseReader>;
}

let server: PostgresServer;
let engine: InngestDev;
const ends: (() => unknown)[] = [];

async function start(): Promise<Instance> {
	const pool = new pg.Pool({ connectionString: server.url });
	const backend = postgresBackend(pool, { heartbeatMs: 1_000 });
	const realtime = createRealtime({
		inngest: inngestAt(engine.url),
		channels: {
			demo: { channel: demoChannel, authorize: () => true },
			orders: {
				channel: ordersChannel,
				authorize: () => true,
				source: postgresSource(pool, orders)
			}
		},
		backend,
		onFailure: () => {}
	});
	const http = await serve(realtime);
	const readers: SseReader[] = [];
	ends.push(async () => {
		for (const reader of readers) reader.close();
		realtime.close();
		backend.close();
		await http.close();
		await pool.end();
	});
	return {
		realtime,
		pool,
		async open(channel, lastEventId) {
			const reader = await openStream(http.url, { channel, lastEventId });
			readers.push(reader);
			await reader.connected();
			return reader;
		}
	};
}

const say = (message: string): void =>
	engine.publish({ channel: 'demo', topic: 'message', data: { message } });

const reasons = (reader: SseReader): string[] =>
	reader.frames.flatMap(({ event, data }) => (event === 'resync' ? [data.reason] : []));

const entries = (reader: SseReader): [string | undefined, unknown][] =>
	reader.frames.flatMap(({ event, id, data }) => (event === 'message' ? [[id, data.data]] : []));

describe.skipIf(!hasPostgres)('processes of one app with one PostgreSQL', () => {
	beforeAll(async () => {
		server = await PostgresServer.start();
		const pool = new pg.Pool({ connectionString: server.url });
		await migrate(pool);
		await pool.query('create table orders (id int primary key, status text, secret text)');
		await pool.query(triggerSql({ table: 'orders', key: 'id', columns: ['id', 'status'] }));
		await pool.end();
	}, 60_000);
	afterAll(() => server.close());
	beforeEach(async () => void (engine = await startInngestDev()));
	afterEach(async () => {
		for (const end of ends.splice(0)) await end();
		await engine.close();
	});

	test('all send one order, what Inngest delivers and what is emitted, once each', async () => {
		const [one, other] = [await start(), await start()];
		const [first, second] = [await one.open('demo'), await other.open('demo')];
		for (let n = 0; n < 60; n++) {
			if (n % 3) say(String(n));
			else await (n % 2 ? one : other).realtime.emit(demoChannel().message, { message: String(n) });
		}
		for (const reader of [first, second]) await reader.when(() => reader.texts.length === 60);
		expect(entries(second)).toEqual(entries(first));
		expect([...first.texts].sort((a, b) => Number(a) - Number(b))).toEqual(
			Array.from({ length: 60 }, (_, n) => String(n))
		);
		const { rows } = await one.pool.query(
			`select count(*)::int from sveltekit_inngest.events where topic is not null`
		);
		expect(rows).toEqual([{ count: 60 }]);
		const resumed = await other.open('demo', entries(first)[29]![0]);
		await resumed.when(() => resumed.texts.length === 30);
		expect(resumed.texts).toEqual(first.texts.slice(30));
		expect([first, second, resumed].flatMap(reasons)).toEqual([]);
	});

	test('what is emitted in a transaction comes with its commit', async () => {
		const [one, other] = [await start(), await start()];
		const reader = await other.open('demo');
		const client = await one.pool.connect();
		for (const end of ['rollback', 'commit']) {
			await client.query('begin');
			await one.realtime.emit(demoChannel().message, { message: end }, { tx: client });
			await client.query(end);
		}
		client.release();
		await reader.when(() => reader.texts.length > 0);
		expect(reader.texts).toEqual(['commit']);
	});

	test('a row that changes is one message for the readers of every process', async () => {
		const [one, other] = [await start(), await start()];
		const readers = [await one.open('orders'), await other.open('orders')];
		await one.pool.query(`insert into orders values (1, 'new', 'x')`);
		await one.pool.query(`update orders set status = 'paid' where id = 1`);
		for (const reader of readers) await reader.when(() => reader.messages.length === 2);
		expect(entries(readers[1]!)).toEqual(entries(readers[0]!));
		expect(readers[0]!.messages.map(({ data }) => data)).toEqual([
			{ id: 1, status: 'new' },
			{ id: 1, status: 'paid' }
		]);
		const { rows } = await one.pool.query(
			`select count(*)::int from sveltekit_inngest.events where topic = 'order'`
		);
		expect(rows).toEqual([{ count: 2 }]);
	});

	test.each(['stopped', 'frozen'])(
		'while the database is %s messages arrive, and everything goes on when it is back',
		async (fault) => {
			const [one, other] = [await start(), await start()];
			const [first, second] = [await one.open('demo'), await other.open('demo')];
			say('before');
			for (const reader of [first, second]) await reader.when(() => reader.texts.length === 1);
			const lastId = entries(first)[0]![0];
			await (fault === 'stopped' ? server.stop() : server.freeze());
			try {
				for (const text of ['a', 'b', 'c']) {
					say(text);
					for (const reader of [first, second]) {
						await reader.when(() => reader.texts.at(-1) === text);
					}
				}
			} finally {
				await (fault === 'stopped' ? server.start() : server.thaw());
			}
			for (const reader of [first, second]) {
				await reader.when(() => reader.health().at(-1)!.detail === undefined);
			}
			say('after');
			for (const reader of [first, second]) {
				await reader.when(() => reader.texts.at(-1) === 'after');
				expect(reader.texts).toEqual(['before', 'a', 'b', 'c', 'after']);
			}
			expect(entries(second).at(-1)).toEqual(entries(first).at(-1));
			const resumed = await other.open('demo', lastId);
			await resumed.when(() => resumed.texts.includes('after'));
			expect(reasons(resumed).length).toBeGreaterThan(0);
		},
		60_000
	);
});
