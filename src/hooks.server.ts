import { cookieOf, personOf } from '$demo/server/people.js';
import type { Handle } from '@sveltejs/kit';

const COOKIE = 'demo';

export const handle: Handle = ({ event, resolve }) => {
	const { cookies, locals, route, url } = event;
	locals.user = null;
	// Inngest calls its own route and is nobody.
	if (route.id === '/api/inngest') return resolve(event);
	locals.person = personOf(cookies.get(COOKIE));
	const { name, role } = locals.person;
	if (role !== 'guest') locals.user = { name, role };
	if (cookies.get(COOKIE) !== cookieOf(locals.person)) {
		const secure = url.protocol === 'https:';
		cookies.set(COOKIE, cookieOf(locals.person), { path: '/', maxAge: 86_400, secure });
	}
	return resolve(event);
};
