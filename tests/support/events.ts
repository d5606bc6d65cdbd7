import { z } from 'zod';
import { defineEvent } from '../../src/lib/protocol/event.js';

/** Says something on the demo channel. */
export const say = defineEvent('demo/say', {
	schema: z.object({ message: z.string().min(1).trim() }),
	channel: 'demo',
	result: z.object({ said: z.string() })
});

/** Data of every kind that a schema changes. */
export const createOrder = defineEvent('orders/create', {
	schema: z.object({ product: z.string(), count: z.coerce.number().int().default(1) }),
	result: z.object({ orderId: z.string(), at: z.date() })
});

/** Goes to Inngest. */
export const startJob = defineEvent('jobs/start', {
	schema: z.object({ jobId: z.string() })
});
