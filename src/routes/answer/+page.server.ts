import { fail } from '@sveltejs/kit';
import { answers } from '$demo/server/answers.js';
import { inngest } from '$demo/server/inngest.js';
import type { Actions, PageServerLoad } from './$types.js';

export const load: PageServerLoad = () => ({ questions: Object.keys(answers) });

export const actions: Actions = {
	async ask({ request, locals }) {
		const question = String((await request.formData()).get('question'));
		if (!Object.hasOwn(answers, question))
			return fail(400, { problem: 'Choose one of the questions.' });
		const data = { owner: locals.person.name, question };
		try {
			await inngest.send({ name: 'app/question.asked', data });
		} catch (error) {
			return fail(503, { problem: `Inngest did not accept the event: ${String(error)}` });
		}
	}
};
