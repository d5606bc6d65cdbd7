import { memoryBackend } from 'sveltekit-inngest/server/index.js';

const { REDIS_URL, DATABASE_URL } = process.env;

async function openBackend() {
	if (REDIS_URL) {
		const { createClient } = await import('redis');
		const { redisBackend } = await import('sveltekit-inngest/redis/index.js');
		return redisBackend(createClient({ url: REDIS_URL }));
	}
	if (DATABASE_URL) {
		const { default: pg } = await import('pg');
		const { postgresBackend } = await import('sveltekit-inngest/postgres/index.js');
		const pool = new pg.Pool({ connectionString: DATABASE_URL });
		return postgresBackend(pool, { migrate: true });
	}
	return memoryBackend();
}

/** What the processes would share. */
export const backend = await openBackend();

/** How much of each channel is kept. */
export const replay = { maxEvents: Number(process.env.REPLAY_EVENTS ?? 1_000) };

/** Failures are logged, unless they are caused on purpose. */
export const onFailure = process.env.QUIET ? () => {} : undefined;
