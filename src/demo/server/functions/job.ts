import { NonRetriableError, RetryAfterError } from 'inngest';
import { jobChannel, type Job } from '$demo/channels.js';
import { inngest } from '../inngest.js';
import { updateJob } from '../jobs.js';

/** The step that breaks where the plan says so. */
const WEAK_STEP = 2;
const STEP_MS = 600;

/** Steps that take their time, each tried again by Inngest when it fails, and all of it told. */
export const job = inngest.createFunction(
	{ id: 'job', retries: 2 },
	{ event: 'app/job.requested' },
	async ({ event, step, publish, attempt }) => {
		const { id, owner, plan } = event.data;
		const tell = (change: (job: Job) => void) =>
			publish(jobChannel(owner).state(updateJob(owner, id, change)));

		const { steps } = await step.run('Plan', () => tell(() => {}));
		for (const [index, { name }] of steps.entries()) {
			await step.run(name, async () => {
				const attempts = attempt + 1;
				await tell((job) => (job.steps[index] = { name, state: 'running', attempts }));
				await new Promise((resolve) => setTimeout(resolve, STEP_MS));
				if (index === WEAK_STEP && plan === 'fail') {
					await tell((job) => {
						job.steps[index] = { name, state: 'failed', attempts };
						Object.assign(job, { state: 'failed', note: 'The photos are out of focus.' });
					});
					throw new NonRetriableError('The photos are out of focus');
				}
				if (index === WEAK_STEP && plan === 'retry' && attempt === 0) {
					await tell((job) => (job.steps[index] = { name, state: 'retrying', attempts }));
					throw new RetryAfterError('The sorter is busy', '1s');
				}
				await tell((job) => (job.steps[index] = { name, state: 'done', attempts }));
			});
		}
		await step.run('Tell the result', () =>
			tell((job) => Object.assign(job, { state: 'done', note: 'An album of 48 pages is ready.' }))
		);
	}
);
