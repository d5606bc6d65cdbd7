import type { Job } from '$demo/channels.js';

export const STEPS = [
	'Read the photos',
	'Find the faces',
	'Sort by person',
	'Lay out pages',
	'Bind it'
];
const MAX_JOBS = 200;

/** Everybody's newest job. Stands in for an app's database. */
const jobs = new Map<string, Job>();

export function findJob(owner: string): Job | null {
	return jobs.get(owner) ?? null;
}

/** Begins a job. It replaces the owner's earlier job, even if that one is still running. */
export function beginJob(owner: string): Job {
	const steps = STEPS.map((name) => ({ name, state: 'waiting' as const, attempts: 0 }));
	const job: Job = { id: crypto.randomUUID(), state: 'running', steps, note: '' };
	keep(owner, job);
	return job;
}

/**
 * Saves the state of a job. Returns `false` and saves nothing if it was cancelled or a newer job has replaced
 * it.
 */
export function saveJob(owner: string, job: Job): boolean {
	const newest = jobs.get(owner);
	if (newest && (newest.id !== job.id || newest.state === 'cancelled')) return false;
	keep(owner, job);
	return true;
}

/** Forgets a job that could not be started. */
export function forgetJob(owner: string): void {
	jobs.delete(owner);
}

function keep(owner: string, job: Job): void {
	jobs.delete(owner);
	jobs.set(owner, job);
	if (jobs.size > MAX_JOBS) jobs.delete(jobs.keys().next().value!);
}
