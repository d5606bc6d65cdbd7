import adapter from '@sveltejs/adapter-cloudflare';
import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

// The adapter writes its Worker to the `main` of its configuration, which must not be the wrapper.
export default {
	preprocess: vitePreprocess(),
	kit: { adapter: adapter({ config: 'wrangler.build.jsonc' }) }
};
