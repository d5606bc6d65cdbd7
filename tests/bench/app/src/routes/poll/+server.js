import { json } from '@sveltejs/kit';

let n = 0;

/** What a page that polls is answered with: the newest value. */
export async function POST({ request }) {
	await request.text();
	return json({ n: n++, t: performance.timeOrigin + performance.now() });
}
