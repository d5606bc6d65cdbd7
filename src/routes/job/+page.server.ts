import { fail } from '@sveltejs/kit';
import { inngest } from '$demo/server/inngest.js';
import { findJob } from '$demo/server/jobs.js';
import type { Actions, PageServerLoad } from './$types.js';

const plans = ['smooth', 'retry', 'fail'] as const;

/** What was published before this page was opened. */
export const load: PageServerLoad = ({ locals }) => ({ job: findJob(locals.person.name) });

export const actions: Actions = {
	async start({ request, locals }) {
		const chosen = (await request.formData()).get('plan');
		const plan = plans.find((one) => one === chosen);
		if (!plan) return fail(400, { problem: 'Choose what shall happen.' });
		const data = { id: crypto.randomUUID(), owner: locals.person.name, plan };
		try {
			await inngest.send({ name: 'app/job.requested', data });
		} catch (error) {
			return fail(503, { problem: `Inngest did not take the event: ${String(error)}` });
		}
	}
};
