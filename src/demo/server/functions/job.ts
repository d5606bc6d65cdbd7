import { NonRetriableError, RetryAfterError } from 'inngest';
import { jobChannel, type Job } from '$demo/channels.js';
import { inngest } from '../inngest.js';
import { saveJob, STEPS } from '../jobs.js';

type Step = Job['steps'][number];

/** The step that fails if the plan says so. */
const WEAK_STEP = 2;
const STEP_MS = 600;

/**
 * A job of several steps. Inngest tries each step again when it fails, ends the run when
 * the job is cancelled, and the page sees all of it.
 */
export const job = inngest.createFunction(
	{ id: 'job', retries: 2, cancelOn: [{ event: 'app/job.cancelled', match: 'data.id' }] },
	{ event: 'app/job.requested' },
	async ({ event, step, publish, attempt }) => {
		const { id, owner, plan } = event.data;
		// Results of steps survive a restart of the server, and so does this list of them.
		const done: Step[] = [];

		/** Saves and publishes the whole state, with `current` as the step after those that are done. */
		const tell = async (current: Step[], state: Job['state'] = 'running', note = '') => {
			const rest = STEPS.slice(done.length + current.length);
			const waiting = rest.map((name): Step => ({ name, state: 'waiting', attempts: 0 }));
			const job = { id, state, steps: [...done, ...current, ...waiting], note };
			if (!saveJob(owner, job)) throw new NonRetriableError('The job is over');
			await publish(jobChannel(owner).state(job));
		};

		for (const [index, name] of STEPS.entries()) {
			const result = await step.run(name, async (): Promise<Step> => {
				const attempts = attempt + 1;
				await tell([{ name, state: 'running', attempts }]);
				await new Promise((resolve) => setTimeout(resolve, STEP_MS));
				if (index === WEAK_STEP && plan === 'fail') {
					await tell(
						[{ name, state: 'failed', attempts }],
						'failed',
						'The photos are out of focus.'
					);
					throw new NonRetriableError('The photos are out of focus');
				}
				if (index === WEAK_STEP && plan === 'retry' && attempt === 0) {
					await tell([{ name, state: 'retrying', attempts }]);
					throw new RetryAfterError('The sorter is busy', '1s');
				}
				return { name, state: 'done', attempts };
			});
			done.push(result);
		}
		await step.run('Tell the result', () => tell([], 'done', 'An album of 48 pages is ready.'));
	}
);
