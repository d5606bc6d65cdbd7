import { env } from '$env/dynamic/private';
import { memoryBackend, type RealtimeBackend } from 'sveltekit-inngest/server';

/** The backend that the processes of the demo share: Redis or Postgres, if the environment names one. */
export const backend = await openBackend();

async function openBackend(): Promise<RealtimeBackend> {
	// Loaded only if they are used, so that nobody has to install them.
	if (env.REDIS_URL) {
		const [{ createClient }, { redisBackend }] = await Promise.all([
			import('redis'),
			import('sveltekit-inngest/redis')
		]);
		return redisBackend(createClient({ url: env.REDIS_URL }));
	}
	if (env.DATABASE_URL) {
		const [{ default: pg }, { postgresBackend }] = await Promise.all([
			import('pg'),
			import('sveltekit-inngest/postgres')
		]);
		const pool = new pg.Pool({ connectionString: env.DATABASE_URL });
		pool.on('error', (error) => console.warn('[postgres]', error.message));
		return postgresBackend(pool, { migrate: true });
	}
	return memoryBackend();
}
