import { defineEvent } from 'sveltekit-inngest';
import { z } from 'zod';

/** The events that pages send. `src/demo/server/events.ts` handles them. */

export const publishMessage = defineEvent('demo/message.publish', {
	schema: z.object({
		message: z.string().trim().min(1, 'Write a message first.').max(200),
		to: z.enum(['everyone', 'admins', 'me'])
	})
});

export const startJob = defineEvent('demo/job.start', {
	schema: z.object({ plan: z.enum(['smooth', 'retry', 'fail']) }),
	result: z.object({ id: z.string() })
});

export const cancelJob = defineEvent('demo/job.cancel', {
	schema: z.object({ id: z.string() })
});

export const postToTeam = defineEvent('demo/team.post', {
	schema: z.object({
		text: z.string().trim().min(1, 'Write something first.').max(280),
		adminsOnly: z.boolean()
	})
});

export const askQuestion = defineEvent('demo/question.ask', {
	schema: z.object({ question: z.string() })
});
