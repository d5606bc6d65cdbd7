import type { PGlite } from '@electric-sql/pglite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresBackend } from '../../../src/lib/postgres/index.js';
import {
	busContract,
	replayContract,
	type BackendDriver
} from '../../../src/lib/testing/contract/index.js';
import { clients, hasPostgres, openPGlite, PostgresServer } from '../../support/postgres.js';

const options = { migrate: true, timeoutMs: 1_000, heartbeatMs: 1_000 };

/** Everything that the backend keeps, of the schema that it uses by default. */
const TABLES = 'sveltekit_inngest.logs, sveltekit_inngest.events, sveltekit_inngest.keys';

describe.skipIf(!hasPostgres).each(['pg', 'postgres'] as const)('Postgres through %s', (name) => {
	let server: PostgresServer;

	beforeAll(async () => void (server = await PostgresServer.start()));
	afterAll(() => server.close());

	const ends = new Map<unknown, () => Promise<void>>();
	const driver: BackendDriver = {
		connect() {
			const { client, end } = clients[name](server);
			const backend = postgresBackend(client, options);
			ends.set(backend, end);
			return backend;
		},
		async close(backend) {
			backend.close?.();
			await ends.get(backend)?.();
			ends.delete(backend);
		},
		stop: () => server.stop(),
		start: () => server.start(),
		freeze: () => server.freeze(),
		thaw: () => server.thaw(),
		save: () => server.save(),
		flush: async () => void (await server.query(`truncate ${TABLES}`))
	};

	replayContract(driver, { it, expect });
	busContract(driver, { it, expect });
});

describe('PGlite', () => {
	let database: PGlite;

	beforeAll(async () => void (database = await openPGlite()), 60_000);
	afterAll(() => database.close());

	const driver: BackendDriver = {
		connect: () => postgresBackend(database, options),
		flush: async () => void (await database.exec(`truncate ${TABLES}`))
	};

	replayContract(driver, { it, expect });
	busContract(driver, { it, expect });
});
