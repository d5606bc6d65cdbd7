import { channel, topic } from '@inngest/realtime';
import { Inngest } from 'inngest';
import { z } from 'zod';

export const inngest = new Inngest({ id: 'bench', isDev: true, baseUrl: process.env.ENGINE_URL });

const tick = topic('tick').schema(z.object({ n: z.number(), t: z.number() }));

export const benchChannel = channel('bench').addTopic(tick);
export const userChannel = channel((/** @type {string} */ id) => `user:${id}`).addTopic(tick);
