import { RealtimeError } from '../protocol/errors.js';
import type { BackendBus, RealtimeBackend } from '../server/backend/backend.js';
import type { IdempotencyStore } from '../server/backend/idempotency.js';
import type { PresenceStore } from '../server/backend/presence.js';
import type { RateLimitStore } from '../server/backend/rateLimit.js';
import type { ReplayStore } from '../server/backend/replay.js';
import { RedisBus } from './bus.js';
import { sourceOf, type RedisClient } from './clients.js';
import { Commands } from './commands.js';
import { RedisIdempotency } from './idempotency.js';
import { Keys } from './keys.js';
import { RedisPresence } from './presence.js';
import { RedisRateLimit } from './rateLimit.js';
import { RedisLog } from './replay.js';

/** Minimum time, in milliseconds, to remember a key, because Inngest may send it again: 48 hours. */
const MIN_KEY_TTL_MS = 48 * 3_600_000;

/** Options of `redisBackend`. */
export interface RedisBackendOptions {
	/**
	 * Prefix of the names of all keys and channels. Two apps on one Redis need different prefixes: with the same
	 * one, they share their logs. A `keyPrefix` of the client comes before it.
	 * @default 'sveltekit-inngest'
	 */
	prefix?: string;
	/** Most messages kept per channel. @default 1000 */
	maxEvents?: number;
	/** Age, in milliseconds, after which a message is dropped. @default 3_600_000 */
	maxAgeMs?: number;
	/** Time limit of one call, in milliseconds. @default 2_000 */
	timeoutMs?: number;
	/**
	 * How often, in milliseconds, a quiet connection for announcements is tested, to notice one that receives
	 * nothing any more. @default 5_000
	 */
	heartbeatMs?: number;
	/**
	 * Minimum time, in milliseconds, that the key of an emitted message is remembered, even if the log is
	 * shorter; at least 48 hours. @default 172_800_000
	 */
	keyTtlMs?: number;
	/**
	 * Uses sharded pub/sub for announcements (Redis 7 or later), which a large Cluster does not send to all of
	 * its servers. Client libraries support it only recently. @default false
	 */
	sharded?: boolean;
}

/** A backend that keeps shared data in Redis. */
export interface RedisBackend extends RealtimeBackend {
	readonly name: 'redis';
	readonly timeoutMs: number;
	readonly replay: ReplayStore;
	readonly bus: BackendBus;
	readonly presence: PresenceStore;
	readonly rateLimit: RateLimitStore;
	readonly idempotency: IdempotencyStore;
	/** Ends the connections that the backend opened. It does not touch the client that you passed. */
	close(): void;
}

/**
 * A backend in Redis (6.2 or later) or Valkey for what several processes of an app share: the logs of
 * channels, members, rate limits, and what has run already.
 *
 * It never uses the client itself: it opens its own two connections with the client's options, one for
 * commands and one for announcements, when they are first needed.
 *
 * @param client A client of `redis` (5 or 6) or `ioredis` (5 or 6): standalone, Sentinel or Cluster. It
 *   need not be connected.
 * @throws {RealtimeError} `INVALID_OPTION` if `client` is not a client, and for options that cannot work.
 * @example
 * ```ts
 * import { createClient } from 'redis';
 *
 * createRealtime({ inngest, channels, backend: redisBackend(createClient({ url: env.REDIS_URL })) });
 * ```
 */
export function redisBackend(client: RedisClient, options: RedisBackendOptions = {}): RedisBackend {
	const source = sourceOf(client);
	const {
		prefix = 'sveltekit-inngest',
		maxEvents = 1_000,
		maxAgeMs = 3_600_000,
		timeoutMs = 2_000,
		heartbeatMs = 5_000,
		keyTtlMs = MIN_KEY_TTL_MS,
		sharded = false
	} = options;
	if (typeof prefix !== 'string' || !/^[^\s{}]+$/.test(prefix)) {
		throw invalid('prefix', prefix, 'a string without spaces and braces');
	}
	for (const [name, value] of Object.entries({ maxEvents, maxAgeMs, timeoutMs, heartbeatMs })) {
		checkInteger(name, value, 1);
	}
	checkInteger('keyTtlMs', keyTtlMs, MIN_KEY_TTL_MS);
	if (typeof sharded !== 'boolean') throw invalid('sharded', sharded, 'true or false');

	const commands = new Commands(source, timeoutMs);
	const keys = new Keys(source.keyPrefix + prefix, source.database);
	const publish = sharded ? 'SPUBLISH' : 'PUBLISH';
	const log = new RedisLog(commands, keys, { maxEvents, maxAgeMs, keyTtlMs, publish });
	const bus = new RedisBus(source, { commands, log, keys }, { timeoutMs, heartbeatMs, sharded });
	return {
		name: 'redis',
		timeoutMs,
		replay: log,
		bus,
		presence: new RedisPresence(commands, keys, { bus, publish, timeoutMs }),
		rateLimit: new RedisRateLimit(commands, keys),
		idempotency: new RedisIdempotency(commands, keys),
		close() {
			bus.close();
			commands.close();
		}
	};
}

function checkInteger(name: string, value: unknown, min: number): void {
	if (Number.isSafeInteger(value) && (value as number) >= min) return;
	throw invalid(name, value, `a whole number of at least ${min}`);
}

function invalid(name: string, value: unknown, expected: string): RealtimeError {
	return new RealtimeError(
		'INVALID_OPTION',
		`\`redisBackend\` cannot use \`${name}: ${String(value)}\`: it must be ${expected}.`
	);
}
