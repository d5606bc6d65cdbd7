import { NonRetriableError } from 'inngest';
import { answerChannel } from '$demo/channels.js';
import { answers, streamAnswer } from '../answers.js';
import { inngest } from '../inngest.js';

/** Publishes a stream. Each piece is on the screen as soon as it exists. */
export const answer = inngest.createFunction(
	{ id: 'answer', retries: 0 },
	{ event: 'app/question.asked' },
	async ({ event, step, publish }) => {
		const { owner, question } = event.data;
		const text = answers[question];
		if (!text) throw new NonRetriableError(`There is no answer to "${question}"`);
		await step.run('Answer', async () => {
			await publish(answerChannel(owner).tokens(streamAnswer(text)));
		});
	}
);
