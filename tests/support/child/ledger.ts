/**
 * One of several processes of an app that handles events and shares a backend. It tells its parent of each
 * run of a handler, as soon as the run has had its effect.
 */
import { Inngest } from 'inngest';
import { z } from 'zod';
import { defineEvent } from '../../../src/lib/protocol/event.js';
import { createRealtime, type RealtimeBackend } from '../../../src/lib/server/index.js';
import { demoChannel } from '../channels.js';
import { serve } from '../server.js';

/** What the parent says at the start. */
export interface LedgerOptions {
	redisUrl?: string;
	postgresUrl?: string;
}

/** A run that has had its effect. */
export interface LedgerRun {
	id: string;
	/** Tells runs of one id apart. */
	run: string;
}

/** What pages send. */
export const add = defineEvent('ledger/add', {
	schema: z.object({ page: z.number(), amount: z.number() }),
	channel: ({ page }) => `ledger:${page}`,
	result: z.object({ added: z.number(), run: z.string() })
});

async function connect({ redisUrl, postgresUrl }: LedgerOptions): Promise<RealtimeBackend> {
	if (redisUrl) {
		const { createClient } = await import('redis');
		const { redisBackend } = await import('../../../src/lib/redis/index.js');
		return redisBackend(createClient({ url: redisUrl }));
	}
	const { default: pg } = await import('pg');
	const { postgresBackend } = await import('../../../src/lib/postgres/index.js');
	const pool = new pg.Pool({ connectionString: postgresUrl, max: 20 });
	// Without a listener, a connection that breaks while it is idle ends the process.
	pool.on('error', () => {});
	return postgresBackend(pool, { migrate: true });
}

const options = process.env.LEDGER_OPTIONS;

// The parent imports the event from here.
if (options) {
	const backend = await connect(JSON.parse(options) as LedgerOptions);
	const store = backend.idempotency!;
	const realtime = createRealtime({
		inngest: new Inngest({ id: 'ledger', isDev: true }),
		backend: Object.assign(backend, {
			idempotency: {
				// Whoever takes over from a dead process would wait for half a minute.
				begin: (id: string, { hash }: { hash: string }) =>
					store.begin(id, { hash, leaseMs: 3_000 }),
				renew: store.renew.bind(store),
				finish: store.finish.bind(store),
				fail: store.fail.bind(store)
			}
		}),
		channels: { demo: { channel: demoChannel, authorize: () => true, source: false } },
		onFailure() {},
		events: {
			add: {
				event: add,
				authorize: () => true,
				run: async ({ id }, { amount }) => {
					await new Promise((resolve) => setTimeout(resolve, 10 + Math.random() * 20));
					const run = crypto.randomUUID();
					process.send!({ id, run } satisfies LedgerRun);
					return { added: amount, run };
				}
			}
		}
	});
	process.on('disconnect', () => process.exit());
	const { url } = await serve(realtime);
	process.send!({ url });
}
