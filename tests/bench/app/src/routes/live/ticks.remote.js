import { query } from '$app/server';
import { benchChannel, inngest } from '$lib/realtime.js';
import { subscribe } from '@inngest/realtime';
import { WebSocket } from 'ws';

globalThis.WebSocket ??= WebSocket;

/** What one would write with SvelteKit alone: a socket to Inngest per page that reads the query. */
export const ticks = query.live(async function* () {
	const stream = await subscribe({ app: inngest, channel: benchChannel(), topics: ['tick'] });
	yield { t: 0, n: 0 };
	for await (const { data } of stream) yield { t: data.t, n: data.n };
});
