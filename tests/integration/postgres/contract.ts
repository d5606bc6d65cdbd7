import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresBackend } from '../../../src/lib/postgres/index.js';
import {
	busContract,
	idempotencyContract,
	presenceContract,
	rateLimitContract,
	replayContract,
	type BackendDriver
} from '../../../src/lib/testing/contract/index.js';
import { clients, hasPostgres, PostgresServer } from '../../support/postgres.js';

const all = process.env.BACKENDS === 'all';

/** Runs the contracts of the seams on a server, through one client library. */
export function contract(name: keyof typeof clients): void {
	describe.skipIf(!hasPostgres)(`PostgreSQL through ${name}`, () => {
		let server: PostgresServer;

		beforeAll(async () => void (server = await PostgresServer.start()), 60_000);
		afterAll(() => server.close());

		const ends = new Map<unknown, () => Promise<void>>();
		const tables = ['logs', 'events', 'keys', 'channels', 'members', 'leases', 'runs', 'buckets']
			.map((name) => `sveltekit_inngest.${name}`)
			.join();
		const driver: BackendDriver = {
			connect() {
				const { client, end } = clients[name](server);
				const options = { migrate: true, timeoutMs: 2_000, heartbeatMs: 1_000 };
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
			flush: async () => void (await server.query(`truncate ${tables}`)),
			// What a server forgets has nothing to do with the client.
			...((all || name === 'pg') && { save: () => server.save() })
		};

		replayContract(driver, { it, expect });
		busContract(driver, { it, expect });
		presenceContract(driver, { it, expect });
		rateLimitContract(driver, { it, expect });
		idempotencyContract(driver, { it, expect });
	});
}
