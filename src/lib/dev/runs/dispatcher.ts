import { createEvent } from '../events.js';
import type { DevEvent } from '../events.js';
import type { DevFunction, EventMatch } from '../registry/function.js';
import { matchesName } from '../registry/function.js';
import type { Registry } from '../registry/registry.js';
import type { Message } from '../realtime/message.js';
import type { Warnings } from '../warnings.js';
import { Executor } from './executor.js';
import { FINISHED, finishEvents, INVOKED, readInvocation } from './finish.js';
import type { Opcode } from './opcode.js';
import { RunLifecycle } from './lifecycle.js';
import { expressionBody, plainError } from './protocol.js';
import type { Run, RunOutcome } from './run.js';
import { Waits } from './waits.js';

// Most characters of a value in a warning.
const MAX_SHOWN = 100;
// Ended runs that are kept for inspection.
const MAX_ENDED_RUNS = 1_000;
// Pairs of a function and an event's id, to recognise repeated events.
const MAX_STARTED = 10_000;

/** What the dispatcher needs from others. */
export interface DispatcherSurroundings {
	/** Publishes what happens to runs. */
	publish(message: Message): void;
	/** Called when a call found no app. */
	appIsAway(): void;
}

/**
 * Brings events to functions: starts, resumes and cancels their runs, and answers runs that invoked
 * others. Holds all runs; `close()` cancels those that have not ended.
 */
export class Dispatcher {
	readonly #registry: Registry;
	readonly #runs = new Map<string, Run>();
	readonly #active = new Set<Run>();
	readonly #ended: string[] = [];
	readonly #started = new Set<string>();
	readonly #invocations = new Map<string, (state: string) => void>();
	readonly #waits = new Waits();
	readonly #lifecycle: RunLifecycle;
	readonly #warnings: Warnings;
	readonly #executor: Executor;
	#closed = false;

	constructor(registry: Registry, warnings: Warnings, surroundings: DispatcherSurroundings) {
		this.#registry = registry;
		this.#warnings = warnings;
		this.#lifecycle = new RunLifecycle(surroundings.publish);
		this.#executor = new Executor({
			warnings,
			locate: (fn) => registry.find(fn.id)?.url ?? fn.url,
			onAway: surroundings.appIsAway,
			onStart: (run) => this.#lifecycle.started(run),
			onWait: (wait) => this.#waits.add(wait),
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

	/** Handles an event; the runs that it starts are known when this returns. */
	receive(event: DevEvent): void {
		if (this.#closed) return;
		this.#cancelRuns(event);
		this.#waits.receive(event);
		const invocation = readInvocation(event);
		if (invocation) this.#startInvoked(event, invocation);
		for (const fn of this.#registry.functions) {
			const trigger = fn.triggers.find(
				(trigger) => matchesName(trigger, event.name) && this.#holds(fn, trigger, event)
			);
			if (trigger) this.#start(fn, event);
		}
	}

	/** Starts the function with this id with an event that is only for it. */
	startFunction(functionId: string, event: DevEvent): void {
		const fn = this.#registry.find(functionId);
		if (fn && !this.#closed) this.#start(fn, event);
	}

	/** A run publishes to a channel. */
	publishes(runId: string, channel: string): void {
		const run = this.#runs.get(runId);
		if (run) this.#lifecycle.publishes(run, channel);
	}

	cancel(run: Run): void {
		this.#executor.end(run, { status: 'Cancelled' });
	}

	close(): void {
		this.#closed = true;
		for (const run of [...this.#active]) this.cancel(run);
	}

	#start(fn: DevFunction, event: DevEvent): void {
		const key = `${fn.id} ${event.id}`;
		if (this.#started.has(key)) return;
		this.#started.add(key);
		if (this.#started.size > MAX_STARTED) this.#started.delete(first(this.#started));
		const run = this.#executor.start(fn, event);
		this.#runs.set(run.id, run);
		this.#active.add(run);
	}

	#holds(fn: DevFunction, { condition }: EventMatch, event: DevEvent): boolean {
		if (!condition) return true;
		const value = condition.evaluate({ event: expressionBody(event) });
		if (value !== undefined && typeof value !== 'boolean') {
			this.#warnings.once(
				`The expression "${condition.text}" of function "${fn.id}" gave ${JSON.stringify(value, plain).slice(0, MAX_SHOWN)} for the event "${event.name}", but only true starts the function. Compare it with something.`
			);
		}
		return value === true;
	}

	#cancelRuns(event: DevEvent): void {
		const now = Date.now();
		for (const run of this.#active) {
			if (run.event.internalId === event.internalId) continue;
			const cancels = run.fn.cancelOn.some(({ event: name, condition, timeoutMs = Infinity }) => {
				if (name !== event.name || now > run.createdAt + timeoutMs) return false;
				const data = { event: expressionBody(run.event), async: expressionBody(event) };
				return condition?.matches(data) ?? true;
			});
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
		run.whenEnded(() => this.#invocations.delete(correlationId));
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
		// Do this later: the other steps of the same answer must be known first.
		run.at(0, () => {
			this.receive({ ...createEvent({ ...payload, name: INVOKED, data }), trace: run.trace });
		});
	}

	#onEnd(run: Run, outcome: RunOutcome): void {
		this.#lifecycle.ended(run);
		this.#active.delete(run);
		this.#ended.push(run.id);
		if (this.#ended.length > MAX_ENDED_RUNS) this.#runs.delete(this.#ended.shift()!);
		for (const event of finishEvents(run, outcome)) {
			if (event.name === FINISHED)
				this.#answer(readInvocation(run.event)?.correlationId, event.data ?? {});
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

/** For `JSON.stringify`: JSON has no ints of that size. */
function plain(_key: string, value: unknown): unknown {
	return typeof value === 'bigint' ? Number(value) : value;
}

function first<T>(set: Set<T>): T {
	return set.values().next().value!;
}
