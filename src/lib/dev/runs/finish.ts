import { createEvent } from '../events.js';
import type { DevEvent } from '../events.js';
import { eventBody } from './protocol.js';
import type { Run, RunOutcome } from './run.js';

export const FINISHED = 'inngest/function.finished';
export const FAILED = 'inngest/function.failed';
export const CANCELLED = 'inngest/function.cancelled';
export const INVOKED = 'inngest/function.invoked';

/** The events that report the end of a run. They start `onFailure` functions. */
export function finishEvents(run: Run, outcome: RunOutcome): DevEvent[] {
	// Otherwise a handler of these events that fails would start itself.
	if (run.event.name === FAILED || run.event.name === FINISHED) return [];
	const event = eventBody(run.event);
	const correlationId = readInvocation(run.event)?.correlationId;
	const data = {
		function_id: run.fn.id,
		run_id: run.id,
		event,
		events: [event],
		...(outcome.status === 'Failed' ? { error: outcome.error, result: outcome.output } : {}),
		...(outcome.status === 'Completed' ? { result: outcome.output } : {}),
		...(correlationId ? { correlation_id: correlationId } : {}),
		_inngest: { status: outcome.status }
	};
	const events = [createEvent({ name: FINISHED, data })];
	if (outcome.status === 'Failed') events.push(createEvent({ name: FAILED, id: run.id, data }));
	if (outcome.status === 'Cancelled') {
		events.push(createEvent({ name: CANCELLED, id: run.id, data }));
	}
	return events;
}

/** The function that an event invokes, and the step that waits for the result. */
export function readInvocation(
	event: DevEvent
): { functionId: string; correlationId: string } | undefined {
	if (event.name !== INVOKED) return undefined;
	const { fn_id, correlation_id } = event.data!._inngest as Record<string, string>;
	return { functionId: fn_id ?? '', correlationId: correlation_id ?? '' };
}
