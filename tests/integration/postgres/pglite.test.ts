import type { PGlite } from '@electric-sql/pglite';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import {
	migrate,
	postgresBackend,
	postgresSource,
	triggerSql
} from '../../../src/lib/postgres/index.js';
import {
	busContract,
	idempotencyContract,
	presenceContract,
	rateLimitContract,
	replayContract,
	type BackendDriver
} from '../../../src/lib/testing/contract/index.js';
import { BusRecorder, message, SourceRecorder, texts } from '../../support/listeners.js';
import { openPGlite } from '../../support/postgres.js';
import { eventually } from '../../support/wait.js';

let database: PGlite;

beforeAll(async () => {
	database = await openPGlite();
	await migrate(database);
}, 60_000);
afterAll(() => database.close());

describe('PGlite', () => {
	const tables = ['logs', 'events', 'keys', 'channels', 'members', 'leases', 'runs', 'buckets']
		.map((name) => `sveltekit_inngest.${name}`)
		.join();
	const driver: BackendDriver = {
		connect: () => postgresBackend(database),
		flush: async () => void (await database.exec(`truncate ${tables}`))
	};

	replayContract(driver, { it, expect });
	busContract(driver, { it, expect });
	presenceContract(driver, { it, expect });
	rateLimitContract(driver, { it, expect });
	idempotencyContract(driver, { it, expect });
});

test('a transaction publishes when it commits, and `close` leaves the database open', async () => {
	const { bus, close } = postgresBackend(database);
	const listener = new BusRecorder();
	bus.listen('log', listener);
	await eventually(() => listener.turns.includes('live'), 'the line to be live');
	await database
		.transaction(async (tx) => {
			await bus.publish('log', message('rolled back'), { tx });
			throw new Error('rolled back');
		})
		.catch(() => {});
	await database.transaction(async (tx) => {
		await bus.publish('log', message('committed'), { tx });
	});
	await eventually(() => listener.told.length > 0);
	expect(texts(listener.told)).toEqual(['committed']);
	close();
	expect((await database.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
});

test('a row that is created is a message, whatever its length', async () => {
	await database.exec('create table orders (id int primary key, note text)');
	await database.exec(triggerSql({ table: 'orders', key: 'id' }));
	const source = postgresSource<{ id: number; note: string }>(database, {
		table: 'orders',
		map: ({ row }) => ({
			topic: 'order',
			data: row!.note.length
		})
	});
	const listener = new SourceRecorder('orders', ['order']);
	source.listen(listener);
	await eventually(() => listener.turns.includes('live'), 'the source to be live');
	await database.query(`insert into orders values (1, 'short'), (2, repeat('x', 9000))`);
	await eventually(() => listener.messages.length === 2);
	expect(listener.data).toEqual([5, 9_000]);
	source.close();
});

test('what is over is deleted: results, buckets, and channels that nobody is in', async () => {
	const { idempotency, rateLimit, presence, close } = postgresBackend(database);
	const count = async (): Promise<unknown> => {
		const tables = ['runs', 'buckets', 'channels'];
		const counts = tables.map((name) => `(select count(*) from sveltekit_inngest.${name})::int`);
		return (await database.query(`select ${counts.join(' + ')} as rows`)).rows[0];
	};
	await database.exec(
		`truncate ${['runs', 'buckets', 'channels', 'members', 'leases'].map((name) => `sveltekit_inngest.${name}`).join()}`
	);
	for (const life of [1, 3_600_000]) {
		await idempotency.begin(`run ${life}`, { hash: 'h', leaseMs: life });
		await rateLimit.take(`key ${life}`, 1, { points: 1, intervalMs: life });
		const holding = { id: 'x', data: '{}', streams: 1 };
		await presence.join(`channel ${life}`, 'p', holding, { leaseMs: 3_600_000 });
	}
	await presence.leave('channel 1', 'p', 'x');
	await database.exec(
		`update sveltekit_inngest.channels set touched_at = touched_at - interval '1 hour'`
	);
	expect(await count()).toEqual({ rows: 6 });
	await database.query(`select from sveltekit_inngest.prune('{"graceMs":0,"idleMs":0}')`);
	expect(await count()).toEqual({ rows: 3 });
	close();
});
