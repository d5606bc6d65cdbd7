import { fail } from '@sveltejs/kit';
import { inngest } from '$demo/server/inngest.js';
import { findJob, forgetJob, startJob } from '$demo/server/jobs.js';
import type { Actions, PageServerLoad } from './$types.js';

const plans = ['smooth', 'retry', 'fail'] as const;

/** How the job stood when the page was opened. The stream brings what happens afterwards. */
export const load: PageServerLoad = ({ locals }) => ({ job: findJob(locals.person.name) });

export const actions: Actions = {
	async start({ request, locals }) {
		const chosen = (await request.formData()).get('plan');
		const plan = plans.find((one) => one === chosen);
		if (!plan) return fail(400, { problem: 'Choose how the job should go.' });
		const owner = locals.person.name;
		const { id } = startJob(owner);
		try {
			await inngest.send({ name: 'app/job.requested', data: { id, owner, plan } });
		} catch (error) {
			forgetJob(owner);
			return fail(503, { problem: `Inngest did not accept the event: ${String(error)}` });
		}
	}
};
