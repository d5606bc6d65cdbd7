/**
 * One of several processes of an app, which share a backend. It serves two kinds of channels: `room:…`,
 * fed by Inngest and by `emit`, and `note:…`, fed by `emit` alone. Driven over IPC.
 */
import { channel, topic } from '@inngest/realtime';
import { Inngest } from 'inngest';
import {
	createRealtime,
	memoryBackend,
	type RealtimeBackend
} from '../../../src/lib/server/index.js';
import { serve } from '../server.js';

/** What the parent says at the start. */
export interface MemberOptions {
	engineUrl: string;
	redisUrl?: string;
	postgresUrl?: string;
}

/** What the parent asks for: a message with a number, under a key. */
export interface EmitRequest {
	id: number;
	channel: string;
	n: number;
}

/** What became of it. */
export interface EmitAnswer {
	id: number;
	error?: string;
}

const { engineUrl, redisUrl, postgresUrl } = JSON.parse(
	process.env.MEMBER_OPTIONS!
) as MemberOptions;

async function backend(): Promise<RealtimeBackend> {
	if (redisUrl) {
		const { createClient } = await import('redis');
		const { redisBackend } = await import('../../../src/lib/redis/index.js');
		return redisBackend(createClient({ url: redisUrl }));
	}
	if (postgresUrl) {
		const { default: pg } = await import('pg');
		const { postgresBackend } = await import('../../../src/lib/postgres/index.js');
		const pool = new pg.Pool({ connectionString: postgresUrl });
		// Without a listener, a connection that breaks while it is idle ends the process.
		pool.on('error', () => {});
		return postgresBackend(pool, { migrate: true });
	}
	return memoryBackend();
}

const room = channel((name: string) => `room:${name}`)
	.addTopic(topic('published').type<number>())
	.addTopic(topic('emitted').type<number>());
const note = channel((name: string) => `note:${name}`).addTopic(topic('emitted').type<number>());

const realtime = createRealtime({
	inngest: new Inngest({ id: 'cluster', baseUrl: engineUrl, isDev: true }),
	backend: await backend(),
	channels: {
		room: { channel: room, channelParams: (_event, id) => id.slice(5), authorize: () => true },
		note: {
			channel: note,
			source: false,
			channelParams: (_event, id) => id.slice(5),
			authorize: () => true
		}
	},
	healthCheck: { intervalMs: 500 },
	onFailure: () => {}
});

process.on('message', ({ id, channel, n }: EmitRequest) => {
	const [kind, name] = channel.split(':') as ['room' | 'note', string];
	const target = kind === 'room' ? room(name).emitted : note(name).emitted;
	realtime
		.emit(target, n, { key: `${channel} ${n}` })
		.then(
			(): EmitAnswer => ({ id }),
			(error: Error): EmitAnswer => ({ id, error: error.message })
		)
		.then((answer) => process.send?.(answer));
});
process.on('disconnect', () => process.exit());

const { url } = await serve(realtime);
process.send!({ url });
