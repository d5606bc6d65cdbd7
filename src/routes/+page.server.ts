import { fail } from '@sveltejs/kit';
import { isRole } from '$demo/server/people.js';
import { tellOfChange } from '$demo/server/team.js';
import type { Actions, PageServerLoad } from './$types.js';

export const load: PageServerLoad = ({ locals }) => ({ gateOpen: locals.person.gateOpen });

export const actions: Actions = {
	async gate({ request, locals }) {
		const form = await request.formData();
		locals.person.gateOpen = form.get('open') === 'true';
	},

	async role({ request, locals }) {
		const role = (await request.formData()).get('role');
		if (!isRole(role)) return fail(400, { problem: 'There is no such role.' });
		locals.person.role = role;
		await tellOfChange(locals.person.name);
	}
};
