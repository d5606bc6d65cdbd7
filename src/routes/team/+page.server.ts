import { fail } from '@sveltejs/kit';
import { inngest } from '$demo/server/inngest.js';
import { findPerson, whoIsHere } from '$demo/server/people.js';
import { tellOfChange } from '$demo/server/team.js';
import type { Actions, PageServerLoad } from './$types.js';

export const load: PageServerLoad = ({ depends }) => {
	depends('demo:people');
	return { people: whoIsHere().map(({ name, role, mayRead }) => ({ name, role, mayRead })) };
};

export const actions: Actions = {
	async post({ request, locals }) {
		const form = await request.formData();
		const text = String(form.get('text') ?? '')
			.trim()
			.slice(0, 280);
		const adminsOnly = form.has('adminsOnly');
		const { name, role, mayRead } = locals.person;
		if (!text) return fail(400, { problem: 'Write something first.' });
		if (role === 'guest' || !mayRead)
			return fail(403, { problem: 'You do not have the right to post here.' });
		if (adminsOnly && role !== 'admin')
			return fail(403, { problem: 'Only admins may write notes.' });
		try {
			await inngest.send({ name: 'app/team.posted', data: { from: name, text, adminsOnly } });
		} catch (error) {
			return fail(503, { problem: `Inngest did not accept the event: ${String(error)}` });
		}
	},

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
