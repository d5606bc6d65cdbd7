import { channel, topic } from '@inngest/realtime';
import { z } from 'zod';
import { withPresence } from '../../../src/lib/protocol/presence.js';

/** A channel whose numbers go up by one; anybody may read it, and whoever does is a member. */
export const numbers = withPresence(
	channel('numbers')
		.addTopic(topic('number').type<number>())
		.addTopic(topic('other').type<number>()),
	z.object({ name: z.string(), mood: z.string().optional() })
);

/** One that is refused until the server lets it. */
export const locked = channel('locked').addTopic(topic('number').type<number>());

/** Any number of others. */
export const extra = channel((name: string) => `extra:${name}`).addTopic(
	topic('number').type<number>()
);
