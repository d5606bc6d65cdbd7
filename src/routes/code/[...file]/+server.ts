import { error } from '@sveltejs/kit';
import type { RequestHandler } from './$types.js';

const sources = import.meta.glob<string>(
	['/src/routes/**/*.{ts,svelte}', '/src/demo/**/*.{ts,svelte}', '/src/hooks.server.ts'],
	{ query: '?raw', import: 'default' }
);

/** A file of the demo, as text. */
export const GET: RequestHandler = async ({ params }) => {
	const source = sources[`/${params.file}`];
	if (!source) error(404, `There is no ${params.file}.`);
	return new Response(await source(), { headers: { 'content-type': 'text/plain; charset=utf-8' } });
};
