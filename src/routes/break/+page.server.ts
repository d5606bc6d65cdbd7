import { fail } from '@sveltejs/kit';
import { counterOf } from '$demo/server/counter.js';
import { cause, faults } from '$demo/server/engine.js';
import type { Actions } from './$types.js';

export const actions: Actions = {
	async count({ request, locals }) {
		const counter = counterOf(locals.person.name);
		if ((await request.formData()).get('go') === 'true') counter.start();
		else counter.stop();
	},

	async fault({ request, url }) {
		const asked = (await request.formData()).get('fault');
		const fault = faults.find((one) => one === asked);
		if (!fault) return fail(400, { problem: 'Choose what should break.' });
		await cause(fault, `${url.origin}/api/inngest`);
	}
};
