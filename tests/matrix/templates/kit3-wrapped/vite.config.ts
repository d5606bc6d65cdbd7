import adapter from '@sveltejs/adapter-cloudflare';
import { sveltekit } from '@sveltejs/kit/vite';
import { inngestDev } from 'sveltekit-inngest/vite';
import { defineConfig } from 'vite';

// The adapter writes its Worker to the `main` of its configuration, which must not be the wrapper.
export default defineConfig({
	plugins: [inngestDev(), sveltekit({ adapter: adapter({ config: 'wrangler.build.jsonc' }) })]
});
