import { error } from '@sveltejs/kit';
import { pages } from '$lib/pages.js';
import { render } from '$lib/render.js';

export const entries = () => pages.map(({ slug }) => ({ page: slug }));

export async function load({ params }) {
	const wanted = params.page.replace(/\/$/, '');
	const page = pages.find(({ slug }) => slug === wanted);
	if (!page) error(404, 'There is no such page.');
	return { title: page.title, ...(await render(page)) };
}
