import { durableObjectBackend } from 'sveltekit-inngest/cloudflare';
import { createRealtime } from 'sveltekit-inngest/server';
import { chat, news } from './channels.js';
import { inngest } from './inngest.js';

export const realtime = createRealtime({
	inngest,
	backend: durableObjectBackend((platform) => platform.env.REALTIME),
	// In workerd a write is what shows that a client has left.
	healthCheck: { intervalMs: 1_000 },
	channels: {
		news: { channel: news, authorize: ({ topics }) => ({ allowedTopics: topics }) },
		chat: {
			channel: chat,
			channelParams: (_event, requested) => requested.slice('chat:'.length),
			authorize: ({ channelId }) => channelId === 'chat:lobby'
		}
	}
});
