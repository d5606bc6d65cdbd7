import { fail } from '@sveltejs/kit';
import { jobChannel } from '$demo/channels.js';
import { inngest } from '$demo/server/inngest.js';
import { findJob, forgetJob, startJob } from '$demo/server/jobs.js';
import { realtime } from '$demo/server/realtime.js';
import type { Actions, PageServerLoad } from './$types.js';

const plans = ['smooth', 'retry', 'fail'] as const;

/** How the job stands. The cursor is taken first, so that the stream misses nothing of what follows. */
export const load: PageServerLoad = async ({ locals: { person } }) => {
	const since = await realtime.cursor(jobChannel, { channelParams: person.name });
	return { since, job: findJob(person.name) };
};

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
