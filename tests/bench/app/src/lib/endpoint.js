import { backend, onFailure, replay } from './backend.js';
import { echo } from './events.js';
import { benchChannel, inngest, userChannel } from './realtime.js';
import { createRealtime } from 'sveltekit-inngest/server/index.js';

export const realtime = createRealtime({
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
	replay,
	onFailure,
	lingerMs: Number(process.env.LINGER_MS ?? 1_000)
});
