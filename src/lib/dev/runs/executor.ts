import { randomUUID } from 'node:crypto';
import { parseDuration, parseSleep } from '../duration.js';
import type { DevEvent } from '../events.js';
import { Expression } from '../expressions/expression.js';
import type { DevFunction } from '../registry/function.js';
import type { Warnings } from '../warnings.js';
import { isLazy, isPlan, isRace, stepName, stepState, UNSUPPORTED } from './opcode.js';
import type { Opcode } from './opcode.js';
import { callApp, plainError } from './protocol.js';
import type { CallResult } from './protocol.js';
import { Run } from './run.js';
import type { Job, RunOutcome } from './run.js';
import type { Wait } from './waits.js';

/** Wait before the first retry, in milliseconds; it doubles with each further one. */
const RETRY_MS = 200;
/** Longest wait before a retry, in milliseconds. */
const MAX_RETRY_MS = 5_000;
/** Wait before a retry if no SDK answered, in milliseconds: longer than an app takes to restart. */
const AWAY_RETRY_MS = 4_000;
// From this version of the protocol on the engine waits for all parallel steps.
const WAITS_FOR_ALL = 2;
const MAX_STEPS = 1_000;
const ONE_YEAR_MS = 366 * 86_400_000;

/** What the executor needs from others, and tells them. */
export interface ExecutorSurroundings {
	warnings: Warnings;
	/** Where a function is served now. */
	locate(fn: DevFunction): string;
	/** No SDK answered a call. */
	onAway(): void;
	/** The first call for a run is about to be made. */
	onStart(run: Run): void;
	/** A run has ended. Called once for each run. */
	onEnd(run: Run, outcome: RunOutcome): void;
	/** A step waits for an event. */
	onWait(wait: Wait): void;
	/** A run invokes another function; `answer` takes the state of the step that waits for it. */
	onInvoke(run: Run, op: Opcode, answer: (state: string) => void): void;
}

/**
 * Drives runs through the SDK's protocol: calls the app, does what it asks for, and calls it again
 * with the steps that are done, until it answers with the function's result.
 */
export class Executor {
	readonly #surroundings: ExecutorSurroundings;

	constructor(surroundings: ExecutorSurroundings) {
		this.#surroundings = surroundings;
	}

	/** Starts a run: now, or at the time of its event if that is in the future. */
	start(fn: DevFunction, event: DevEvent): Run {
		const run = new Run(fn, event);
		const job = { id: run.id, after: '', attempt: 0, race: false };
		run.claim(job.id);
		run.at(event.ts, () => this.#execute(run, job));
		return run;
	}

	/** Ends a run, unless it has ended. */
	end(run: Run, outcome: RunOutcome): void {
		if (run.end(outcome)) this.#surroundings.onEnd(run, outcome);
	}

	#enqueue(run: Run, job: Job): void {
		if (run.claim(job.id)) run.at(0, () => this.#execute(run, job));
	}

	#execute(run: Run, job: Job): void {
		this.#call(run, job).catch((error: unknown) => {
			this.#fail(run, `The engine could not continue the run: ${String(error)}`);
		});
	}

	async #call(run: Run, job: Job): Promise<void> {
		if (run.startedAt === undefined) {
			run.startedAt = Date.now();
			this.#surroundings.onStart(run);
		}
		run.attempts = Math.max(run.attempts, job.attempt + 1);
		const result = await callApp(run, job, this.#surroundings.locate(run.fn));
		if (run.outcome) return;
		if (result.isAway) this.#surroundings.onAway();
		if (result.kind === 'output') {
			this.end(run, { status: 'Completed', output: result.output });
		} else if (result.kind === 'opcodes') this.#handleAll(run, job, result, result.opcodes);
		else if (!this.#retry(run, job, result)) {
			this.end(run, { status: 'Failed', error: result.error, output: result.output });
		}
	}

	/** Does the job again later; `false` when that was the last attempt. */
	#retry(run: Run, job: Job, { noRetry, retryAt, isAway }: CallResult): boolean {
		if (noRetry || job.attempt >= run.fn.retries) return false;
		const waitMs = isAway ? AWAY_RETRY_MS : Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** job.attempt);
		run.at(retryAt ?? Date.now() + waitMs, () => {
			this.#execute(run, { ...job, attempt: job.attempt + 1 });
		});
		return true;
	}

	#handleAll(run: Run, job: Job, result: CallResult, opcodes: Opcode[]): void {
		if (run.requestVersion === -1) run.requestVersion = result.requestVersion;
		if (opcodes.every((op) => op.op === 'None' && op.id === '')) {
			// There is neither a step nor a result, so the function's code runs again with the steps that are done.
			const after = run.stack.at(-1) ?? `redrive-${randomUUID()}`;
			return this.#goOn(run, job, after, job.race);
		}
		const steps = opcodes.filter((op) => !isLazy(op));
		if (opcodes.length > MAX_STEPS) {
			const text = `The function run exceeded the step limit of ${MAX_STEPS} steps.`;
			return this.#fail(run, text, 'InngestErrFunctionOverflowed');
		}
		if (steps.length > 1) run.forceStepPlan = true;
		let parallelKey: string | undefined;
		if (steps.length > 1 && opcodes.some(isPlan) && run.requestVersion >= WAITS_FOR_ALL) {
			const ids = steps.map((op) => op.id);
			parallelKey = [...ids].sort().join('.');
			run.pending = new Set(ids);
		}
		for (const op of opcodes) this.#handle(run, job, op, { result, parallelKey });
	}

	#handle(run: Run, job: Job, op: Opcode, group: Group): void {
		if (run.outcome) return;
		switch (op.op) {
			case 'None':
				return;
			case 'Step':
			case 'StepRun':
				run.save(op.id, stepState(op));
				return this.#goOn(run, job, op.id, isRace(op));
			case 'StepError':
				if (!this.#retry(run, job, group.result)) this.#stepFailed(run, job, op);
				return;
			case 'StepFailed':
				return this.#stepFailed(run, job, op);
			case 'StepPlanned':
				return this.#enqueue(run, {
					id: `${run.id}-${op.id}-plan`,
					stepId: op.id,
					after: job.after,
					attempt: 0,
					race: isRace(op),
					...parallel(group.parallelKey)
				});
			case 'Sleep':
				return this.#sleep(run, op);
			case 'InvokeFunction':
				return this.#invoke(run, op, group.parallelKey);
			case 'WaitForEvent':
				return this.#waitForEvent(run, op, group.parallelKey);
			case 'RunComplete':
				return this.end(run, { status: 'Completed', output: op.data ?? null });
			case 'DiscoveryRequest':
				return this.#goOn(run, job, op.id, isRace(op));
			default:
				return this.#refuse(run, op);
		}
	}

	#stepFailed(run: Run, job: Job, op: Opcode): void {
		run.save(op.id, stepState({ ...op, op: 'StepFailed' }));
		this.#discover(run, `${run.id}-${op.id}-failure`, op.id, job.race);
	}

	#sleep(run: Run, op: Opcode): void {
		const text = typeof op.opts?.duration === 'string' ? op.opts.duration : (op.name ?? '');
		const waitMs = parseSleep(text);
		if (waitMs === undefined || waitMs > ONE_YEAR_MS) {
			const why = waitMs === undefined ? 'is no duration and no date' : 'lasts more than one year';
			return this.#fail(run, `The sleep "${text}" of step "${stepName(op)}" ${why}.`);
		}
		const id = `${run.id}-${op.id}`;
		if (!run.claim(id)) return;
		run.at(Date.now() + waitMs, () => {
			run.save(op.id, 'null');
			if (run.pending.size > 0 && !isRace(op)) return;
			this.#resetPlan(run);
			this.#execute(run, { id, after: op.id, attempt: 0, race: isRace(op) });
		});
	}

	#waitForEvent(run: Run, op: Opcode, parallelKey: string | undefined): void {
		if (!run.claim(`${run.id}-${op.id}`)) return;
		const { event, timeout, if: text } = (op.opts ?? {}) as Record<string, string | undefined>;
		const timeoutMs = parseSleep(timeout ?? '');
		if (timeoutMs === undefined || timeoutMs > ONE_YEAR_MS) {
			const why =
				timeoutMs === undefined ? 'is no duration and no date' : 'is longer than one year';
			return this.#fail(run, `The timeout "${timeout}" of step "${stepName(op)}" ${why}.`);
		}
		let condition: Expression | undefined;
		try {
			if (text) condition = new Expression(text);
		} catch (error) {
			const { message } = error as Error;
			const why = `The expression "${text}" of step "${stepName(op)}" is invalid: ${message}.`;
			return this.#fail(run, why, 'InvalidExpression');
		}
		const resume = this.#resume(run, op, parallelKey);
		this.#surroundings.onWait({ run, event: event || (op.name ?? ''), condition, resume });
		run.at(Date.now() + timeoutMs, () => resume('null'));
	}

	/** Sets the state of a waiting step, once, and continues the run. */
	#resume(run: Run, op: Opcode, parallelKey: string | undefined): (state: string) => void {
		const job = { race: isRace(op), ...parallel(parallelKey) };
		return (state) => {
			if (run.outcome || !run.save(op.id, state)) return;
			this.#discover(run, this.#discoveryId(run, job, `${op.id}-event`), op.id, job.race);
		};
	}

	#invoke(run: Run, op: Opcode, parallelKey: string | undefined): void {
		if (!run.claim(`${run.id}-${op.id}`)) return;
		const answer = this.#resume(run, op, parallelKey);
		const timeout = op.opts?.timeout;
		const timeoutMs = typeof timeout === 'string' ? parseDuration(timeout) : undefined;
		if (timeoutMs) run.at(Date.now() + timeoutMs, () => answer(INVOKE_TIMEOUT));
		this.#surroundings.onInvoke(run, op, answer);
	}

	/** Runs the function's code again, once all parallel steps are done. */
	#goOn(run: Run, job: Pick<Job, 'parallelKey' | 'race'>, after: string, race: boolean): void {
		this.#discover(run, this.#discoveryId(run, { ...job, race }, after), after, race);
	}

	#discover(run: Run, id: string, after: string, race: boolean): void {
		if (run.pending.size > 0 && !race) return;
		this.#resetPlan(run);
		this.#enqueue(run, { id, after, attempt: 0, race });
	}

	/** The steps of a parallel group share one job that continues after the last of them. */
	#discoveryId(run: Run, job: Pick<Job, 'parallelKey' | 'race'>, own: string): string {
		return job.parallelKey && !job.race
			? `${run.id}-${job.parallelKey}-discover`
			: `${run.id}-${own}`;
	}

	#resetPlan(run: Run): void {
		if (run.requestVersion >= WAITS_FOR_ALL) run.forceStepPlan = false;
	}

	#refuse(run: Run, op: Opcode): void {
		const { warnings } = this.#surroundings;
		if (isLazy(op)) {
			warnings.unsupported(run.fn.id, 'deferred functions', 'they are not started');
			return;
		}
		const feature = UNSUPPORTED[op.op] ?? `the operation ${op.op}`;
		this.#fail(run, warnings.unsupported(run.fn.id, feature, 'the run fails here'));
	}

	#fail(run: Run, text: string, name?: string): void {
		const error = plainError(text, name);
		this.end(run, { status: 'Failed', error, output: { error } });
	}
}

interface Group {
	result: CallResult;
	parallelKey: string | undefined;
}

const INVOKE_TIMEOUT = JSON.stringify({
	error: {
		name: 'InngestInvokeTimeoutError',
		message: 'Timed out waiting for invoked function to complete'
	}
});

function parallel(parallelKey: string | undefined): Pick<Job, 'parallelKey'> {
	return parallelKey === undefined ? {} : { parallelKey };
}
