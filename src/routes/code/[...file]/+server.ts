import { error } from '@sveltejs/kit';
import type { RequestHandler } from './$types.js';

const sources = import.meta.glob<string>(
	// SvelteKit treats every import of a `.remote` module as the module itself.
	['/src/{routes,demo}/**/*.{ts,svelte}', '/src/hooks.server.ts', '!**/*.remote.ts'],
	{ query: '?raw', import: 'default' }
);

/** The source of a file of the demo. */
export const GET: RequestHandler = async ({ params }) => {
	const source = sources[`/${params.file}`];
	if (!source) error(404, `There is no ${params.file}.`);
	return new Response(await source(), { headers: { 'content-type': 'text/plain; charset=utf-8' } });
};
