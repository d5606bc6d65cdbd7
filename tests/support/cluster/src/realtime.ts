/**
 * An app of which several processes run, with a backend that they share. It has two kinds of channels:
 * `room:…`, fed by Inngest and by `emit`, and `note:…`, fed by `emit` alone. Its event takes a while.
 */
import { channel, topic } from '@inngest/realtime';
import { Inngest } from 'inngest';
import { setTimeout as wait } from 'node:timers/promises';
import {
	createRealtime,
	defineEvent,
	memoryBackend,
	type RealtimeBackend
} from 'sveltekit-inngest/server';
import { z } from 'zod';

const { ENGINE_URL, REDIS_URL, POSTGRES_URL } = process.env;

async function openBackend(): Promise<RealtimeBackend> {
	if (REDIS_URL) {
		const { createClient } = await import('redis');
		const { redisBackend } = await import('sveltekit-inngest/redis');
		return redisBackend(createClient({ url: REDIS_URL }));
	}
	if (POSTGRES_URL) {
		const { default: pg } = await import('pg');
		const { postgresBackend } = await import('sveltekit-inngest/postgres');
		return postgresBackend(new pg.Pool({ connectionString: POSTGRES_URL }), { migrate: true });
	}
	return memoryBackend();
}

export const room = channel((name: string) => `room:${name}`)
	.addTopic(topic('published').type<number>())
	.addTopic(topic('emitted').type<number>());
export const note = channel((name: string) => `note:${name}`).addTopic(
	topic('emitted').type<number>()
);

export const realtime = createRealtime({
	inngest: new Inngest({ id: 'cluster', baseUrl: ENGINE_URL!, isDev: true }),
	backend: await openBackend(),
	channels: {
		room: { channel: room, channelParams: (_event, id) => id.slice(5), authorize: () => true },
		note: {
			channel: note,
			source: false,
			channelParams: (_event, id) => id.slice(5),
			authorize: () => true
		}
	},
	events: {
		slow: {
			event: defineEvent('slow', { schema: z.object({}) }),
			authorize: () => true,
			async run() {
				console.log('The event is being handled.');
				await wait(500);
				return 'handled';
			}
		}
	},
	healthCheck: { intervalMs: 500 },
	onFailure: () => {}
});
