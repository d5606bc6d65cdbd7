import { channel, topic } from '@inngest/realtime';
import { withPresence } from 'sveltekit-inngest';
import { z } from 'zod';

const messageTopic = topic('message').schema(z.object({ message: z.string() }));
const adminMessageTopic = topic('admin-message').schema(z.object({ message: z.string() }));

/** A topic for everybody who is signed in, and one for admins only. */
export const demoChannel = channel('demo').addTopic(messageTopic).addTopic(adminMessageTopic);

/** One channel per person. */
export const userChannel = channel((name: string) => `user:${name}`).addTopic(messageTopic);

export const jobSchema = z.object({
	id: z.string(),
	state: z.enum(['running', 'done', 'failed', 'cancelled']),
	steps: z.array(
		z.object({
			name: z.string(),
			state: z.enum(['waiting', 'running', 'retrying', 'done', 'failed']),
			attempts: z.number()
		})
	),
	/** The result, when the job has ended. */
	note: z.string()
});
export type Job = z.infer<typeof jobSchema>;

/** The state of a person's newest job. Each message holds all of it, so the newest one is enough. */
export const jobChannel = channel((name: string) => `job:${name}`).addTopic(
	topic('state').schema(jobSchema)
);

/** A person's answers, as data streams. Their pieces are text. */
export const answerChannel = channel((name: string) => `answer:${name}`).addTopic(
	topic('tokens').type<ReadableStream | string>()
);

const postTopic = topic('post').schema(z.object({ from: z.string(), text: z.string() }));
const noteTopic = topic('admin-note').schema(z.object({ from: z.string(), text: z.string() }));
const peopleTopic = topic('people').schema(z.object({ changed: z.string() }));

/** A team's feed: posts for everybody, notes for admins, and a hint that the list of people changed. */
export const teamChannel = channel('team')
	.addTopic(postTopic)
	.addTopic(noteTopic)
	.addTopic(peopleTopic);

/** Numbers that go up by one, so that a missing one can be seen. */
export const counterChannel = channel((name: string) => `counter:${name}`).addTopic(
	topic('number').schema(z.object({ run: z.string(), n: z.number() }))
);

/** A board with the cursors of everybody who looks at it, and their messages. */
export const boardChannel = withPresence(
	channel('board').addTopic(topic('line').schema(z.object({ from: z.string(), text: z.string() }))),
	z.object({
		name: z.string(),
		/** Where the cursor is, as a share of the board. */
		x: z.number().min(0).max(1).optional(),
		y: z.number().min(0).max(1).optional(),
		isTyping: z.boolean().optional()
	})
);
