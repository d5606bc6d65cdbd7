import { fail } from '@sveltejs/kit';
import { inngest } from '$demo/server/inngest.js';
import { isRole } from '$demo/server/people.js';
import { tellOfChange } from '$demo/server/team.js';
import type { Actions, PageServerLoad } from './$types.js';

export const load: PageServerLoad = ({ locals }) => ({ gateOpen: locals.person.gateOpen });

export const actions: Actions = {
	async publish({ request, locals }) {
		const form = await request.formData();
		const message = String(form.get('message') ?? '').slice(0, 200) || 'Hello';
		const data = {
			me: { message, to: locals.person.name },
			admins: { message, adminsOnly: true },
			everyone: { message }
		}[String(form.get('to'))];
		if (!data) return fail(400, { problem: 'Choose who should receive the message.' });
		try {
			await inngest.send({ name: 'app/demo.message', data });
		} catch (error) {
			return fail(503, { problem: `Inngest did not accept the event: ${String(error)}` });
		}
	},

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
