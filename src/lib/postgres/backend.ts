import { RealtimeError } from '../protocol/errors.js';
import type { BackendBus, RealtimeBackend } from '../server/backend/backend.js';
import type { IdempotencyStore } from '../server/backend/idempotency.js';
import type { PresenceStore } from '../server/backend/presence.js';
import type { RateLimitStore } from '../server/backend/rateLimit.js';
import type { ReplayStore } from '../server/backend/replay.js';
import { PostgresBus } from './bus.js';
import { openDatabase, type PostgresClient } from './clients/client.js';
import { PostgresIdempotency } from './idempotency.js';
import { HEARTBEAT_MS, Line } from './line.js';
import { PostgresPresence } from './presence.js';
import { PostgresRateLimit } from './rateLimit.js';
import { PostgresReplayStore } from './replay.js';
import { checkSchema } from './schema.js';
import { Statements } from './statements.js';

/** Options of `postgresBackend`. */
export interface PostgresBackendOptions {
	/** Name of the Postgres schema; apps with different schemas do not see each other. @default 'sveltekit_inngest' */
	schema?: string;
	/** Whether the first call creates what is missing in the database; see also `migrate()`. @default false */
	migrate?: boolean;
	/** Most messages kept per channel. @default 1000 */
	maxEvents?: number;
	/** Age, in milliseconds, after which a message is dropped. @default 3_600_000 */
	maxAgeMs?: number;
	/** Time limit of one call, in milliseconds. @default 2_000 */
	timeoutMs?: number;
	/**
	 * A client that connects to the server directly, if `client` goes through a transaction pooler, which cannot
	 * LISTEN; `false` polls instead of listening. @default client
	 */
	listen?: PostgresClient | false;
	/**
	 * How often, in milliseconds, logs are read while the backend cannot listen; `false` leaves that to the
	 * check that each channel makes every 15 s. @default 2_000
	 */
	pollMs?: number | false;
	/** How often, in milliseconds, the connection that listens is tested. @default 10_000 */
	heartbeatMs?: number;
}

/** A backend in a Postgres database. */
export interface PostgresBackend extends RealtimeBackend {
	readonly replay: ReplayStore;
	readonly bus: BackendBus;
	readonly presence: PresenceStore;
	readonly rateLimit: RateLimitStore;
	readonly idempotency: IdempotencyStore;
	/** Ends the connections that the backend opened. Your client stays open. */
	close(): void;
}

/**
 * A backend in Postgres (13 or later) or PGlite for what several processes of an app share: the logs of
 * channels, members, rate limits, and what has run already. It connects with the first call.
 *
 * @param client A `Pool` of `pg`, the result of `postgres()` of `postgres`, or a PGlite database.
 * @throws {RealtimeError} `INVALID_OPTION` when the client or an option is not valid.
 */
export function postgresBackend(
	client: PostgresClient,
	options: PostgresBackendOptions = {}
): PostgresBackend {
	const schema = checkSchema(options.schema);
	const maxEvents = count('maxEvents', options.maxEvents ?? 1_000);
	const maxAgeMs = count('maxAgeMs', options.maxAgeMs ?? 3_600_000);
	const timeoutMs = count('timeoutMs', options.timeoutMs ?? 2_000);
	const heartbeatMs = count('heartbeatMs', options.heartbeatMs ?? HEARTBEAT_MS);
	const { pollMs = 2_000, listen = client, migrate = false } = options;
	if (pollMs !== false) count('pollMs', pollMs);
	const statements = new Statements(openDatabase(client), { schema, migrate, timeoutMs });
	const store = new PostgresReplayStore(statements, { maxEvents, maxAgeMs });
	const line = listen === false ? undefined : Line.of(listen, heartbeatMs);
	const bus = new PostgresBus(statements, { store, line, pollMs });
	const presence = new PostgresPresence(statements, { store, line, pollMs });
	return {
		name: 'postgres',
		timeoutMs,
		replay: store,
		bus,
		presence,
		rateLimit: new PostgresRateLimit(statements, store),
		idempotency: new PostgresIdempotency(statements, store),
		close() {
			bus.close();
			presence.close();
			store.close();
		}
	};
}

/** @throws {RealtimeError} `INVALID_OPTION` when an option is not a whole number above 0. */
function count(name: string, value: number): number {
	if (Number.isSafeInteger(value) && value > 0) return value;
	throw new RealtimeError(
		'INVALID_OPTION',
		`\`${name}\` must be a whole number above 0, not ${String(value)}.`
	);
}
