import { cookieOf, personOf } from '$demo/server/people.js';
import type { Handle } from '@sveltejs/kit';

const COOKIE = 'demo';

export const handle: Handle = ({ event, resolve }) => {
	const { cookies, locals, route, url } = event;
	// Inngest calls its own route and is not a person.
	if (route.id === '/api/inngest') return resolve(event);
	const person = (locals.person = personOf(cookies.get(COOKIE)));
	Object.defineProperty(locals, 'user', {
		get: () => (person.role === 'guest' ? null : { name: person.name, role: person.role })
	});
	if (cookies.get(COOKIE) !== cookieOf(person)) {
		const secure = url.protocol === 'https:';
		cookies.set(COOKIE, cookieOf(person), { path: '/', maxAge: 86_400, secure });
	}
	return resolve(event);
};
