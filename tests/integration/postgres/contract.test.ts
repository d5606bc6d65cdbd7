import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresBackend } from '../../../src/lib/postgres/index.js';
import {
	busContract,
	replayContract,
	type BackendDriver
} from '../../../src/lib/testing/contract/index.js';
import { clients, hasPostgres, PostgresServer } from '../../support/postgres.js';

const options = { migrate: true, timeoutMs: 1_000, heartbeatMs: 1_000 };

/** Everything that the backend keeps, of the schema that it uses by default. */
const TABLES = 'sveltekit_inngest.logs, sveltekit_inngest.events, sveltekit_inngest.keys';

const all = process.env.BACKENDS === 'all';

describe.skipIf(!hasPostgres)('PostgreSQL', () => {
	let server: PostgresServer;

	beforeAll(async () => void (server = await PostgresServer.start()), 60_000);
	afterAll(() => server.close());

	describe.each(['pg', 'postgres'] as const)('through %s', (name) => {
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
			flush: async () => void (await server.query(`truncate ${TABLES}`)),
			// What a server forgets has nothing to do with the client.
			...((all || name === 'pg') && { save: () => server.save() })
		};

		replayContract(driver, { it, expect });
		busContract(driver, { it, expect });
	});
});
