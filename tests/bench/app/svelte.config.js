import adapter from '@sveltejs/adapter-node';

/** @type {import('@sveltejs/kit').Config} */
export default {
	compilerOptions: { experimental: { async: true } },
	kit: {
		experimental: { remoteFunctions: true },
		adapter: adapter({ out: 'build', precompress: false }),
		// The packaged library: what is measured is what is published.
		alias: { 'sveltekit-inngest': '../../../dist' }
	}
};
