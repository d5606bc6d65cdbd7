import { createRealtime } from 'sveltekit-inngest/server';
import { chat, news } from '../../../lib/channels.js';
import { inngest } from '../../../lib/inngest.js';

export const { GET, POST } = createRealtime({
	inngest,
	channels: {
		news: { channel: news, authorize: ({ topics }) => ({ allowedTopics: topics }) },
		chat: {
			channel: chat,
			channelParams: (_event, requested) => requested.slice('chat:'.length),
			authorize: ({ channelId }) => channelId === 'chat:lobby'
		}
	}
});
