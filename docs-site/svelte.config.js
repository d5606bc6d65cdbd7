import adapter from '@sveltejs/adapter-static';

/** @type {import('@sveltejs/kit').Config} */
export default {
	kit: {
		adapter: adapter(),
		// `BASE_PATH=/name` for a site that is not at the root of its host.
		paths: { base: process.env.BASE_PATH ?? '' },
		prerender: { handleMissingId: 'fail', handleHttpError: 'fail' }
	}
};
