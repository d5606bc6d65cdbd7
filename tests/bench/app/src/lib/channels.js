import { channel, topic } from '@inngest/realtime';
import { z } from 'zod';

const tick = topic('tick').schema(z.object({ n: z.number(), t: z.number() }));

export const benchChannel = channel('bench').addTopic(tick);
export const userChannel = channel((/** @type {string} */ id) => `user:${id}`).addTopic(tick);
