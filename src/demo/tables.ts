import { defineTable } from 'sveltekit-inngest/sync';
import { z } from 'zod';

/** The shared list. */
export const todos = defineTable('todos', {
	schema: z.object({
		id: z.string().max(64),
		title: z.string().trim().min(1).max(120),
		done: z.boolean().default(false),
		/** Who wrote it. */
		by: z.string(),
		createdAt: z.number()
	}),
	key: 'id'
});
