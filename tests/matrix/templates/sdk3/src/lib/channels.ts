import { channel, topic } from '@inngest/realtime';
import { z } from 'zod';

export const news = channel('news')
	.addTopic(topic('story').schema(z.object({ title: z.string(), at: z.coerce.date() })))
	.addTopic(topic('length').schema(z.string().transform((text) => text.length)));

export const chat = channel((room: string) => `chat:${room}`).addTopic(
	topic('message').schema(z.object({ text: z.string() }))
);
