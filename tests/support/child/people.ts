/**
 * One of several processes of an app whose channel has presence. It tells its parent which hooks were
 * called, and ends as a server does that is asked to by SIGTERM.
 */
import { Inngest } from 'inngest';
import { createRealtime, type RealtimeBackend } from '../../../src/lib/server/index.js';
import { demoChannel } from '../channels.js';
import { serve } from '../server.js';

/** What the parent says at the start. */
export interface PeopleOptions {
	redisUrl?: string;
	postgresUrl?: string;
	heartbeatMs: number;
	graceMs: number;
}

const { redisUrl, postgresUrl, heartbeatMs, graceMs } = JSON.parse(
	process.env.PEOPLE_OPTIONS!
) as PeopleOptions;

async function openBackend(): Promise<RealtimeBackend> {
	if (redisUrl) {
		const { createClient } = await import('redis');
		const { redisBackend } = await import('../../../src/lib/redis/index.js');
		return redisBackend(createClient({ url: redisUrl }));
	}
	const { default: pg } = await import('pg');
	const { postgresBackend } = await import('../../../src/lib/postgres/index.js');
	const pool = new pg.Pool({ connectionString: postgresUrl });
	pool.on('error', () => {});
	return postgresBackend(pool, { migrate: true });
}

const tell =
	(name: string) =>
	({ member }: { member: { id: string } }): void =>
		void process.send?.({ hook: `${name} ${member.id}` });

const realtime = createRealtime({
	inngest: new Inngest({ id: 'people', isDev: true, baseUrl: 'http://127.0.0.1:9' }),
	backend: await openBackend(),
	heartbeatMs,
	identify: ({ event }) => event.request.headers.get('x-user'),
	channels: {
		demo: {
			channel: demoChannel,
			source: false,
			authorize: () => true,
			presence: { graceMs, onJoin: tell('join'), onLeave: tell('leave') }
		}
	},
	onFailure: () => {}
});

process.on('disconnect', () => process.exit());

const { url, server } = await serve(realtime);
process.on('SIGTERM', () => {
	server.close(() => process.exit());
	server.closeIdleConnections();
});
process.send!({ url });
