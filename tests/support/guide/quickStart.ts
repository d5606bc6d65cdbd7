import { realtime } from 'inngest4/realtime';
import { z } from 'zod';

/** A channel of the quick start, as an app with `inngest` 4 has it. */
export const demoChannel = realtime.channel({
	name: 'demo',
	topics: { message: { schema: z.object({ message: z.string() }) } }
});
