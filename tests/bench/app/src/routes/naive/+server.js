import { benchChannel, inngest, userChannel } from '$lib/realtime.js';
import { subscribe } from '@inngest/realtime';
import { produce } from 'sveltekit-sse';
import { WebSocket } from 'ws';

globalThis.WebSocket ??= WebSocket;

/** What one would write by hand: a socket to Inngest, and a produced stream, per browser stream. */
export async function POST({ request }) {
	const { channel } = await request.json();
	const definition = channel === 'bench' ? benchChannel() : userChannel(channel.slice(5));
	return produce(async function start({ emit }) {
		await subscribe({ app: inngest, channel: definition, topics: ['tick'] }, (message) => {
			emit('message', JSON.stringify(message));
		});
		emit('health', JSON.stringify({ ok: true, status: 'connected' }));
	});
}
