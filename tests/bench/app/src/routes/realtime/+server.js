import { backend } from '$lib/backend.js';
import { echo } from '$lib/events.js';
import { benchChannel, inngest, userChannel } from '$lib/realtime.js';
import { createRealtime } from 'sveltekit-inngest/server/index.js';

export const { POST } = createRealtime({
	inngest,
	backend,
	channels: {
		bench: { channel: benchChannel, authorize: () => true },
		user: {
			channel: userChannel,
			channelParams: (_event, id) => id.slice('user:'.length),
			authorize: () => true
		}
	},
	events: {
		echo: {
			event: echo,
			authorize: () => true,
			run: async ({ emit }, data) => void (await emit(benchChannel().tick, data))
		}
	},
	lingerMs: Number(process.env.LINGER_MS ?? 1_000)
});
