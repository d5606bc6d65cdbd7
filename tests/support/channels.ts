import { channel, topic } from '@inngest/realtime';
import { z } from 'zod';

export const demoChannel = channel('demo')
	.addTopic(topic('message').schema(z.object({ message: z.string() })))
	.addTopic(topic('admin-message').schema(z.object({ message: z.string() })));

export const userChannel = channel((userId: string) => `user:${userId}`).addTopic(
	topic('message').schema(z.object({ message: z.string() }))
);
