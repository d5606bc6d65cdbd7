import { createEvent } from '../events.js';
import type { DevEvent } from '../events.js';
import type { DevFunction } from '../registry/function.js';
import { matchesName } from '../registry/function.js';
import type { Registry } from '../registry/registry.js';
import type { Warnings } from '../warnings.js';
import { Executor } from './executor.js';
import { FINISHED, finishEvents, INVOKED, readInvocation } from './finish.js';
import type { Opcode } from './opcode.js';
import { eventBody, plainError } from './protocol.js';
import type { Run, RunOutcome } from './run.js';

// Ended runs that are kept for a look at them.
const MAX_ENDED_RUNS = 1_000;
// (function, event id) pairs by which a repeated event is known.
const MAX_STARTED = 10_000;

/**
 * Brings events to functions: starts their runs, cancels them, and answers runs that invoked others.
 * Holds all runs; `close()` cancels those that have not ended.
 */
export class Dispatcher {
	readonly #registry: Registry;
	readonly #runs = new Map<string, Run>();
	readonly #ended: string[] = [];
	readonly #started = new Set<string>();
	readonly #invocations = new Map<string, (state: string) => void>();
	readonly #executor: Executor;
	#closed = false;

	constructor(registry: Registry, warnings: Warnings) {
		this.#registry = registry;
		this.#executor = new Executor({
			warnings,
			onEnd: (run, outcome) => this.#onEnd(run, outcome),
			onInvoke: (run, op, answer) => this.#onInvoke(run, op, answer)
		});
	}

	/** All runs, the oldest first. */
	get runs(): Run[] {
		return [...this.#runs.values()];
	}

	find(runId: string): Run | undefined {
		return this.#runs.get(runId);
	}

	/** Takes an event; its runs start before this returns. */
	receive(event: DevEvent): void {
		if (this.#closed) return;
		this.#cancelRuns(event);
		const invocation = readInvocation(event);
		if (invocation) this.#startInvoked(event, invocation);
		for (const fn of this.#registry.functions) {
			const starts = fn.triggers.some(
				(trigger) =>
					matchesName(trigger, event.name) &&
					(trigger.condition?.({ event: eventBody(event) }) ?? true)
			);
			if (starts) this.#start(fn, event);
		}
	}

	cancel(run: Run): void {
		this.#executor.end(run, { status: 'Cancelled' });
	}

	close(): void {
		this.#closed = true;
		for (const run of this.#runs.values()) this.cancel(run);
	}

	#start(fn: DevFunction, event: DevEvent): void {
		const key = `${fn.id} ${event.id}`;
		if (this.#started.has(key)) return;
		this.#started.add(key);
		if (this.#started.size > MAX_STARTED) this.#started.delete(first(this.#started));
		const run = this.#executor.start(fn, event);
		this.#runs.set(run.id, run);
	}

	#cancelRuns(event: DevEvent): void {
		for (const run of this.#runs.values()) {
			if (run.outcome || run.event.internalId === event.internalId) continue;
			const data = { event: eventBody(run.event), async: eventBody(event) };
			const cancels = run.fn.cancelOn.some(
				(match) => match.event === event.name && (match.condition?.(data) ?? true)
			);
			if (cancels) this.cancel(run);
		}
	}

	#startInvoked(
		event: DevEvent,
		{ functionId, correlationId }: { functionId: string; correlationId: string }
	): void {
		const fn = this.#registry.find(functionId);
		if (fn) return this.#start(fn, event);
		const { name, message } = plainError(`could not find function with ID: ${functionId}`);
		const data = {
			function_id: '',
			run_id: '',
			correlation_id: correlationId,
			error: { name, message }
		};
		this.#answer(correlationId, data);
		this.receive(createEvent({ name: FINISHED, data }));
	}

	#onInvoke(run: Run, op: Opcode, answer: (state: string) => void): void {
		const correlationId = `${run.id}.${op.id}`;
		this.#invocations.set(correlationId, answer);
		const { payload, function_id } = (op.opts ?? {}) as {
			payload?: { data?: Record<string, unknown>; user?: Record<string, unknown>; v?: string };
			function_id?: unknown;
		};
		const _inngest = {
			source_app_id: '',
			source_fn_id: run.fn.uuid,
			source_fn_v: 1,
			fn_id: String(function_id ?? ''),
			correlation_id: correlationId
		};
		const data = { ...payload?.data, _inngest };
		// Not at once: the other steps of the same answer are to be known first.
		run.at(0, () => this.receive(createEvent({ ...payload, name: INVOKED, data })));
	}

	#onEnd(run: Run, outcome: RunOutcome): void {
		this.#ended.push(run.id);
		if (this.#ended.length > MAX_ENDED_RUNS) this.#runs.delete(this.#ended.shift()!);
		for (const correlationId of this.#invocations.keys()) {
			if (correlationId.startsWith(`${run.id}.`)) this.#invocations.delete(correlationId);
		}
		for (const event of finishEvents(run, outcome)) {
			if (event.name === FINISHED)
				this.#answer(readInvocation(run.event)?.correlationId, event.data);
			this.receive(event);
		}
	}

	/** Gives the result of an invoked run to the step that waits for it. */
	#answer(correlationId: string | undefined, data: Record<string, unknown>): void {
		if (correlationId === undefined) return;
		const answer = this.#invocations.get(correlationId);
		this.#invocations.delete(correlationId);
		const state = 'error' in data ? { error: data.error } : { data: data.result ?? null };
		answer?.(JSON.stringify(state));
	}
}

function first<T>(set: Set<T>): T {
	return set.values().next().value!;
}
