import type { DevEvent } from '../events.js';
import type { Expression } from '../expressions/expression.js';
import { eventBody, expressionBody } from './protocol.js';
import type { Run } from './run.js';

/** A step that waits for an event. */
export interface Wait {
	run: Run;
	/** Name of the event. */
	event: string;
	condition: Expression | undefined;
	/** Sets the state of the step; called once at most. */
	resume(state: string): void;
}

/** Steps that wait for events. A step leaves with its event or with its run. */
export class Waits {
	readonly #byEvent = new Map<string, Set<Wait>>();

	add(wait: Wait): void {
		const waits = this.#byEvent.get(wait.event) ?? new Set();
		this.#byEvent.set(wait.event, waits.add(wait));
		wait.run.whenEnded(() => this.remove(wait));
	}

	remove(wait: Wait): void {
		const waits = this.#byEvent.get(wait.event);
		waits?.delete(wait);
		if (waits?.size === 0) this.#byEvent.delete(wait.event);
	}

	/** Resumes the steps that waited for this event. */
	receive(event: DevEvent): void {
		for (const wait of [...(this.#byEvent.get(event.name) ?? [])]) {
			const { run, condition } = wait;
			if (run.event.internalId === event.internalId) continue;
			const data = { event: expressionBody(run.event), async: expressionBody(event) };
			if (condition && !condition.matches(data)) continue;
			this.remove(wait);
			wait.resume(JSON.stringify({ data: eventBody(event) }));
		}
	}
}
