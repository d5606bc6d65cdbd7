import adapter from '@sveltejs/adapter-node';

/** @type {import('@sveltejs/kit').Config} */
export default {
	kit: {
		adapter: adapter({ out: 'build', precompress: false }),
		// The packaged library: what is measured is what is published.
		alias: { 'sveltekit-inngest': '../../../dist' }
	}
};
