import { realtime } from 'inngest/realtime';
import { z } from 'zod';

export const news = realtime.channel({
	name: 'news',
	topics: {
		story: { schema: z.object({ title: z.string(), at: z.coerce.date() }) },
		length: { schema: z.string().transform((text) => text.length) }
	}
});

export const chat = realtime.channel({
	name: (room: string) => `chat:${room}`,
	topics: { message: { schema: z.object({ text: z.string() }) } }
});
