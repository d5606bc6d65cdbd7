import pg from 'pg';
import { createClient } from 'redis';
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { postgresBackend } from '../../src/lib/postgres/index.js';
import { redisBackend } from '../../src/lib/redis/index.js';
import { createRealtime, type RealtimeBackend } from '../../src/lib/server/index.js';
import { demoChannel } from '../support/channels.js';
import { hasPostgres, PostgresServer } from '../support/postgres.js';
import { hasRedis, RedisServer } from '../support/redis.js';
import { serve } from '../support/server.js';
import { openStream } from '../support/sse.js';
import { eventually } from '../support/wait.js';
import { inngestAt } from '../support/world.js';

/** Why a backend fails is in the log of an app that configured nothing, and nowhere a secret. */
const closers: (() => unknown)[] = [];
let redis: RedisServer;
let postgres: PostgresServer;

beforeAll(async () => {
	if (hasRedis) redis = await RedisServer.start();
	if (hasPostgres) postgres = await PostgresServer.start();
}, 60_000);
afterAll(async () => {
	await redis?.close();
	await postgres?.close();
});
afterEach(async () => {
	vi.restoreAllMocks();
	for (const close of closers.splice(0).reverse()) await close();
});

/** The same server with another user, password and database. */
function strange(address: string, database: string): string {
	const url = new URL(address);
	Object.assign(url, { username: 'someone', password: 'hunter2', pathname: `/${database}` });
	return url.href;
}

function openPostgres(connectionString: string): RealtimeBackend {
	const pool = new pg.Pool({ connectionString });
	closers.push(() => pool.end());
	return postgresBackend(pool, { schema: 'unmade' });
}

const SECRETS = /hunter2|someone|secret|127\.0\.0\.1/;

test.each([
	{
		name: 'a database that was never migrated',
		isHere: hasPostgres,
		open: () => openPostgres(postgres.url),
		reason: /"unmade".*await migrate\(client\)/
	},
	{
		name: 'a database that refuses the user',
		isHere: hasPostgres,
		open: () => openPostgres(strange(postgres.url, 'secretbase')),
		reason: /Postgres failed \((28|3D)\w+\): it (refused|has no)/
	},
	{
		name: 'a Redis that refuses the password',
		isHere: hasRedis,
		open: () => redisBackend(createClient({ url: strange(redis.url, '') })),
		reason: /WRONGPASS/
	}
])('$name: the log says why', async ({ isHere, open, reason }) => {
	if (!isHere) return;
	const logged = vi.spyOn(console, 'error').mockImplementation(() => {});
	const realtime = createRealtime({
		inngest: inngestAt('http://127.0.0.1:1'),
		channels: { demo: { channel: demoChannel, source: false, authorize: () => true } },
		backend: open()
	});
	const server = await serve(realtime);
	closers.push(() => server.close(), realtime.close);
	const reader = await openStream(server.url, { channel: 'demo' });
	closers.push(() => reader.close());
	await reader.connected();
	const emit = (): Promise<unknown> =>
		realtime.emit(demoChannel().message, { message: 'secret' }).catch((error: unknown) => error);
	await eventually(async () => {
		await emit();
		return logged.mock.calls.length > 0;
	});
	const [first] = logged.mock.calls;
	expect(first!.join(' ')).toMatch(reason);
	// Also while it is not even asked.
	const refused = (await emit()) as Error;
	expect(refused.message).toMatch(reason);
	const all = [logged.mock.calls, reader.frames, refused];
	expect(inspect(all, { depth: 9, showHidden: true })).not.toMatch(SECRETS);
	expect(JSON.stringify(reader.frames)).not.toMatch(reason);
});
