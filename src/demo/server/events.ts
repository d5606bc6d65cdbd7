import { error } from '@sveltejs/kit';
import type { EventDefinition } from 'sveltekit-inngest';
import {
	RealtimeDenied,
	type RealtimeEventConfig,
	type RealtimeHandlerContext
} from 'sveltekit-inngest/server';
import { jobChannel } from '$demo/channels.js';
import { askQuestion, cancelJob, postToTeam, publishMessage, startJob } from '$demo/events.js';
import { answers } from './answers.js';
import { inngest } from './inngest.js';
import { beginJob, findJob, forgetJob, saveJob } from './jobs.js';

type Handler<TEvent extends EventDefinition> = RealtimeEventConfig<TEvent, RealtimeHandlerContext>;

const publish: Handler<typeof publishMessage> = {
	event: publishMessage,
	authorize: () => true,
	async run({ id, locals }, { message, to }) {
		const { name } = locals.person;
		const data = {
			me: { message, to: name },
			admins: { message, adminsOnly: true },
			everyone: { message }
		}[to];
		// Pages choose ids: without the name, one person could take another's.
		await inngest.send({ id: `${name}:${id}`, name: 'app/demo.message', data });
	}
};

const start: Handler<typeof startJob> = {
	event: startJob,
	authorize: () => true,
	async run({ locals, emit }, { plan }) {
		const owner = locals.person.name;
		const job = beginJob(owner);
		try {
			await inngest.send({ name: 'app/job.requested', data: { id: job.id, owner, plan } });
		} catch (cause) {
			forgetJob(owner);
			throw cause;
		}
		await emit(jobChannel(owner).state, findJob(owner)!);
		return { id: job.id };
	}
};

const cancel: Handler<typeof cancelJob> = {
	event: cancelJob,
	authorize: () => true,
	async run({ locals, emit }, { id }) {
		const owner = locals.person.name;
		const job = findJob(owner);
		if (job?.id !== id || job.state !== 'running') error(403, 'This job is no longer running.');
		await inngest.send({ name: 'app/job.cancelled', data: { id } });
		const steps = job.steps.filter(({ state }) => state === 'done');
		const note = `Cancelled after ${steps.length} of ${job.steps.length} steps.`;
		const cancelled = { ...job, state: 'cancelled' as const, note };
		saveJob(owner, cancelled);
		await emit(jobChannel(owner).state, cancelled);
	}
};

const post: Handler<typeof postToTeam> = {
	event: postToTeam,
	authorize({ locals }) {
		const { role, mayRead } = locals.person;
		if (role === 'guest' || !mayRead) {
			throw new RealtimeDenied('You do not have the right to post here.');
		}
		return true;
	},
	async run({ id, locals }, { text, adminsOnly }) {
		const { name, role } = locals.person;
		if (adminsOnly && role !== 'admin') throw new RealtimeDenied('Only admins may write notes.');
		const data = { from: name, text, adminsOnly };
		await inngest.send({ id: `${name}:${id}`, name: 'app/team.posted', data });
	}
};

const ask: Handler<typeof askQuestion> = {
	event: askQuestion,
	authorize: () => true,
	async run({ id, locals }, { question }) {
		if (!Object.hasOwn(answers, question)) error(404, 'Choose one of the questions.');
		const owner = locals.person.name;
		await inngest.send({
			id: `${owner}:${id}`,
			name: 'app/question.asked',
			data: { owner, question }
		});
	}
};

/** The handlers of the events that pages send. */
export const events = { publish, start, cancel, post, ask };
