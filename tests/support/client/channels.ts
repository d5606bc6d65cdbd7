import { channel, topic } from '@inngest/realtime';
import { z } from 'zod';

export const demo = channel('demo')
	.addTopic(topic('message').schema(z.object({ message: z.string() })))
	.addTopic(topic('count').type<number>());

export const user = channel((userId: string) => `user:${userId}`).addTopic(
	topic('message').type<{ message: string }>()
);

export const room = channel((org: string, id: number) => `room:${org}:${id}`).addTopic(
	topic('message').type<{ message: string }>()
);
