import { backend, onFailure, replay } from '$lib/backend.js';
import { benchChannel, inngest } from '$lib/realtime.js';
import { createRealtime } from 'sveltekit-inngest/server/index.js';
import { z } from 'zod';

/** A channel whose readers are members, and say when they last changed. */
export const { POST } = createRealtime({
	inngest,
	backend,
	replay,
	onFailure,
	identify: ({ event }) => event.request.headers.get('x-user'),
	channels: {
		bench: {
			channel: benchChannel,
			source: false,
			authorize: () => true,
			presence: { schema: z.object({ t: z.number() }).partial() }
		}
	},
	lingerMs: Number(process.env.LINGER_MS ?? 1_000)
});
