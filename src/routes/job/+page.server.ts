import { jobChannel } from '$demo/channels.js';
import { findJob } from '$demo/server/jobs.js';
import { realtime } from '$demo/server/realtime.js';
import type { PageServerLoad } from './$types.js';

/** The state of the job. The cursor is taken first, so that the stream misses nothing after it. */
export const load: PageServerLoad = async ({ locals: { person } }) => {
	const since = await realtime.cursor(jobChannel, { channelParams: person.name });
	return { since, job: findJob(person.name) };
};
