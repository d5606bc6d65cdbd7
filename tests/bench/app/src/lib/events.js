import { defineEvent } from 'sveltekit-inngest/index.js';
import { z } from 'zod';

/** Comes back on the channel of the benchmark. */
export const echo = defineEvent('bench/echo', {
	schema: z.object({ n: z.number(), t: z.number() })
});
