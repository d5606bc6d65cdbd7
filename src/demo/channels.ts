import { channel, topic } from '@inngest/realtime';
import { z } from 'zod';

const messageTopic = topic('message').schema(z.object({ message: z.string() }));
const adminMessageTopic = topic('admin-message').schema(z.object({ message: z.string() }));

/** What everybody signed in may read, and one topic for admins only. */
export const demoChannel = channel('demo').addTopic(messageTopic).addTopic(adminMessageTopic);

/** One channel per person. */
export const userChannel = channel((name: string) => `user:${name}`).addTopic(messageTopic);

export const jobSchema = z.object({
	id: z.string(),
	state: z.enum(['running', 'done', 'failed']),
	steps: z.array(
		z.object({
			name: z.string(),
			state: z.enum(['waiting', 'running', 'retrying', 'done', 'failed']),
			attempts: z.number()
		})
	),
	/** What came of it, once it ended. */
	note: z.string()
});
export type Job = z.infer<typeof jobSchema>;

/** How somebody's newest job stands. Each message is the whole state, so the newest one is enough. */
export const jobChannel = channel((name: string) => `job:${name}`).addTopic(
	topic('state').schema(jobSchema)
);

/** Somebody's answers, streamed. What a data stream carries is text. */
export const answerChannel = channel((name: string) => `answer:${name}`).addTopic(
	topic('tokens').type<ReadableStream | string>()
);

const postTopic = topic('post').schema(z.object({ from: z.string(), text: z.string() }));
const noteTopic = topic('admin-note').schema(z.object({ from: z.string(), text: z.string() }));
const peopleTopic = topic('people').schema(z.object({ changed: z.string() }));

/** A team's feed: posts for everybody, notes for admins, and a hint that people have changed. */
export const teamChannel = channel('team')
	.addTopic(postTopic)
	.addTopic(noteTopic)
	.addTopic(peopleTopic);

/** Numbers that go up by one, so that whatever is missing shows. */
export const counterChannel = channel((name: string) => `counter:${name}`).addTopic(
	topic('number').schema(z.object({ run: z.string(), n: z.number() }))
);
