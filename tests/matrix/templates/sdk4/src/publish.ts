// What can be published with channels of inngest 4: the input of a topic's schema.
import type { Realtime } from 'sveltekit-inngest/server';
import { chat, news } from './lib/channels.js';

export async function publish(realtime: Realtime): Promise<void> {
	await realtime.publish(news.length, 'counted by its readers');
	await realtime.publish(chat('lobby').message, { text: 'hello' });
	// @ts-expect-error a number is what readers get
	await realtime.publish(news.length, 22);
	// @ts-expect-error `text` is missing
	await realtime.publish(chat('lobby').message, {});
}
