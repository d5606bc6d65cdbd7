import { test } from 'vitest';
import { createRealtime, type Realtime } from '../../src/lib/server/index.js';
import {
	createPublisher,
	syncTables,
	type SyncPublisher,
	type TableSync
} from '../../src/lib/sync/server/index.js';
import { FakeServer } from '../support/backend.js';
import { freePort } from '../support/ports.js';
import { serve, type TestServer } from '../support/server.js';
import { storage, Way } from '../support/sync/client.js';
import { liveAtRandom, type Database, type RandomServer } from '../support/sync/random.js';
import { personOf } from '../support/sync/todos.js';
import { clientAt } from '../support/upstream.js';

// SYNC_RUNS=50 SYNC_STEPS=400 SYNC_SEED=7 for long ones; SYNC_PATH=3 repeats the fourth of a seed.
const RUNS = Number(process.env.SYNC_RUNS ?? 1);
const STEPS = Number(process.env.SYNC_STEPS ?? 80);
const SEED = Number(process.env.SYNC_SEED ?? Date.now() & 0xffff);

/** A real server; what its processes share outlives them. */
class Server implements RandomServer {
	readonly #database: Database;
	readonly #shared = new FakeServer();
	#life = { isOver: true, isCut: false };
	#realtime!: Realtime;
	#server!: TestServer;
	#port = 0;
	publisher!: SyncPublisher<TableSync>;

	constructor(database: Database) {
		this.#database = database;
	}

	get endpoint(): string {
		return `http://127.0.0.1:${this.#port}/`;
	}

	fetch(user: string, teams: readonly string[]): typeof globalThis.fetch {
		return new Way(user, teams).fetch;
	}

	async start(): Promise<void> {
		if (!this.#life.isOver) return;
		const life = (this.#life = { isOver: false, isCut: false });
		const backend = this.#shared.connect(2_000, life);
		const { idempotency } = backend;
		const syncs = this.#database.tables(life);
		this.#realtime = createRealtime({
			inngest: clientAt('http://127.0.0.1:9'),
			identify: ({ event }) => personOf(event.request),
			backend: {
				...backend,
				// Whoever takes over from a dead process would wait for half a minute.
				idempotency: {
					...idempotency!,
					begin: (id, { hash }) => idempotency!.begin(id, { hash, leaseMs: 300 })
				}
			},
			onFailure() {},
			...syncTables(syncs)
		});
		this.publisher = createPublisher(this.#realtime, syncs);
		this.#port ||= await freePort();
		this.#server = await serve(this.#realtime, {
			port: this.#port,
			around: (_, next) => (life.isOver ? Promise.reject(new Error('killed')) : next())
		});
	}

	async kill(): Promise<void> {
		if (this.#life.isOver) return;
		Object.assign(this.#life, { isOver: true, isCut: true });
		await this.#server.close();
		this.#realtime.close();
	}
}

test(
	'whatever happens, when things are quiet all copies are the rows of their scope',
	() =>
		liveAtRandom({
			runs: RUNS,
			steps: STEPS,
			seed: SEED,
			path: process.env.SYNC_PATH,
			create: (database) => new Server(database),
			storage
		}),
	60_000 * RUNS
);
