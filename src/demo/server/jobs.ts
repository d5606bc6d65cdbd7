import type { Job } from '$demo/channels.js';

const STEPS = ['Read the photos', 'Find the faces', 'Sort by person', 'Lay out pages', 'Bind it'];
const MAX_JOBS = 200;

/** Everybody's newest job, in place of an app's database. */
const jobs = new Map<string, Job>();

export function findJob(owner: string): Job | null {
	return jobs.get(owner) ?? null;
}

/** Changes somebody's job, which begins with its first change. */
export function updateJob(owner: string, id: string, change: (job: Job) => void): Job {
	const known = jobs.get(owner);
	const job = known?.id === id ? structuredClone(known) : newJob(id);
	change(job);
	jobs.delete(owner);
	jobs.set(owner, job);
	if (jobs.size > MAX_JOBS) jobs.delete(jobs.keys().next().value!);
	return job;
}

function newJob(id: string): Job {
	const steps = STEPS.map((name) => ({ name, state: 'waiting' as const, attempts: 0 }));
	return { id, state: 'running', steps, note: '' };
}
