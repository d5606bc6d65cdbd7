import type { DevEvent } from '../events.js';
import { ulid } from '../ids.js';
import type { DevFunction } from '../registry/function.js';
import { callAt } from '../timer.js';
import { newTrace } from '../trace.js';
import type { Trace } from '../trace.js';
import type { DevRun, DevRunStatus } from '../types.js';

/** Why a run failed, in the format of the real server. */
export interface RunError {
	error: string;
	name: string;
	message: string;
	stack?: string;
	cause?: unknown;
}

/** How a run ended. */
export type RunOutcome =
	| { status: 'Completed'; output: unknown }
	| { status: 'Failed'; error: RunError; output: unknown }
	| { status: 'Cancelled' };

/** One call of the app that is due. */
export interface Job {
	/** Jobs with the same id run once in the life of a run. */
	id: string;
	/** Step to run; without one, the function's code runs up to the next step that is not done. */
	stepId?: string;
	/** The step that was done before. */
	after: string;
	/** Counted from 0. */
	attempt: number;
	/** Set if the job is one of several parallel steps. */
	parallelKey?: string;
	race: boolean;
}

/** One run of a function: its state, timers and pending calls. */
export class Run {
	readonly id = ulid();
	readonly fn: DevFunction;
	readonly event: DevEvent;
	readonly createdAt = Date.now();
	/** State of the finished steps, as JSON by id. */
	readonly steps = new Map<string, string>();
	/** Ids of the finished steps, in the order in which they finished. */
	readonly stack: string[] = [];
	/** Steps that must be done before the function's code continues. */
	pending = new Set<string>();
	/** Version of the protocol: the SDK chooses it in its first answer. */
	requestVersion = -1;
	/** Whether the SDK must report steps instead of running them at once. */
	forceStepPlan = false;
	outcome: RunOutcome | undefined;
	startedAt: number | undefined;
	endedAt: number | undefined;
	attempts = 0;
	/** Channels that it has published to. */
	readonly channels = new Set<string>();
	readonly trace: Trace;
	readonly #jobs = new Set<string>();
	readonly #timers = new Set<() => void>();
	readonly #cleanups = new Set<() => void>();
	readonly #ended = new AbortController();

	constructor(fn: DevFunction, event: DevEvent) {
		this.fn = fn;
		this.event = event;
		this.trace = event.trace ?? newTrace();
	}

	/** Aborted when the run ends. */
	get signal(): AbortSignal {
		return this.#ended.signal;
	}

	get status(): DevRunStatus {
		return this.outcome?.status ?? (this.startedAt === undefined ? 'Queued' : 'Running');
	}

	/** Claims the id of a job; `false` when it was claimed before. */
	claim(jobId: string): boolean {
		if (this.#jobs.has(jobId)) return false;
		this.#jobs.add(jobId);
		return true;
	}

	/** Keeps the state of a step; `false` when there was one already. */
	save(stepId: string, state: string): boolean {
		if (this.steps.has(stepId)) return false;
		this.steps.set(stepId, state);
		this.stack.push(stepId);
		this.pending.delete(stepId);
		return true;
	}

	/** Calls `action` at a time (milliseconds since the epoch), unless the run ends before. */
	at(timeMs: number, action: () => void): void {
		const cancel = callAt(timeMs, () => {
			this.#timers.delete(cancel);
			action();
		});
		this.#timers.add(cancel);
	}

	/** Calls `action` when the run ends. */
	whenEnded(action: () => void): void {
		this.#cleanups.add(action);
	}

	/** Ends the run, with its calls and timers; `false` when it had ended before. */
	end(outcome: RunOutcome): boolean {
		if (this.outcome) return false;
		this.outcome = outcome;
		this.endedAt = Date.now();
		for (const cancel of this.#timers) cancel();
		this.#timers.clear();
		this.#ended.abort();
		for (const cleanup of this.#cleanups) cleanup();
		this.#cleanups.clear();
		return true;
	}

	/** The run as users of the engine see it. */
	view(): DevRun {
		const { outcome } = this;
		return {
			id: this.id,
			functionId: this.fn.id,
			eventId: this.event.internalId,
			eventName: this.event.name,
			status: this.status,
			attempts: this.attempts,
			steps: this.stack.length,
			createdAt: new Date(this.createdAt),
			...(this.startedAt === undefined ? {} : { startedAt: new Date(this.startedAt) }),
			...(this.endedAt === undefined ? {} : { endedAt: new Date(this.endedAt) }),
			...(outcome?.status === 'Completed' ? { output: outcome.output } : {}),
			...(outcome?.status === 'Failed' ? { error: outcome.error } : {})
		};
	}
}
