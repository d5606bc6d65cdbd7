import adapter from '@sveltejs/adapter-node';
import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

// The demo imports the package by its name, as apps do. The longer names come first, or the shorter
// would be taken for a part of them.
const entries = {
	'sveltekit-inngest/server/createRealtimeEndpoint': 'src/lib/server/createRealtimeEndpoint.ts',
	'sveltekit-inngest/server': 'src/lib/server/index.ts',
	'sveltekit-inngest/client': 'src/lib/client/index.ts',
	'sveltekit-inngest/inspector': 'src/lib/inspector/index.ts',
	'sveltekit-inngest/testing': 'src/lib/testing/index.ts',
	'sveltekit-inngest/redis': 'src/lib/redis/index.ts',
	'sveltekit-inngest/prometheus': 'src/lib/prometheus/index.ts',
	'sveltekit-inngest/dev': 'src/lib/dev/index.ts',
	'sveltekit-inngest/postgres': 'src/lib/postgres/index.ts',
	'sveltekit-inngest/sync/server': 'src/lib/sync/server/index.ts',
	'sveltekit-inngest/sync': 'src/lib/sync/index.ts',
	'sveltekit-inngest/vite': 'src/lib/dev/vite.ts',
	'sveltekit-inngest': 'src/lib/index.ts'
};

/** @type {import('@sveltejs/kit').Config} */
export default {
	preprocess: vitePreprocess(),
	kit: {
		adapter: adapter(),
		alias: { ...entries, $demo: 'src/demo' },
		// For the demo's `query.live`.
		experimental: { remoteFunctions: true }
	}
};
