import { fail } from '@sveltejs/kit';
import { findPerson, whoIsHere } from '$demo/server/people.js';
import { tellOfChange } from '$demo/server/team.js';
import type { Actions, PageServerLoad } from './$types.js';

export const load: PageServerLoad = ({ depends }) => {
	depends('demo:people');
	return { people: whoIsHere().map(({ name, role, mayRead }) => ({ name, role, mayRead })) };
};

export const actions: Actions = {
	async right({ request, locals }) {
		const form = await request.formData();
		const person = findPerson(String(form.get('name')));
		const isAllowed = locals.person.role === 'admin' || person === locals.person;
		if (!person || !isAllowed)
			return fail(403, { problem: 'Only admins may change the rights of others.' });
		person.mayRead = form.get('mayRead') === 'true';
		await tellOfChange(person.name);
	}
};
