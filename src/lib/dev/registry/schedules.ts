import type { CronSchedule } from '../cron.js';
import { createEvent } from '../events.js';
import type { DevEvent } from '../events.js';
import { callAt } from '../timer.js';
import type { DevFunction } from './function.js';

/** Name of the event that a cron trigger starts its function with. */
const SCHEDULED = 'inngest/scheduled.timer';

/** Starts functions at the times of their cron triggers. Ended by `close()`. */
export class Schedules {
	readonly #start: (functionId: string, event: DevEvent) => void;
	readonly #cancels = new Map<string, () => void>();

	/** @param start Starts the function with this id with an event. */
	constructor(start: (functionId: string, event: DevEvent) => void) {
		this.#start = start;
	}

	/** Replaces all schedules with those of `functions`. */
	update(functions: readonly DevFunction[]): void {
		this.close();
		for (const { id, crons } of functions) {
			for (const cron of crons) this.#schedule(id, cron, Date.now());
		}
	}

	close(): void {
		for (const cancel of this.#cancels.values()) cancel();
		this.#cancels.clear();
	}

	#schedule(functionId: string, cron: CronSchedule, afterMs: number): void {
		const dueMs = cron.next(afterMs);
		// 31 February is a valid schedule that is never due.
		if (dueMs === undefined) return;
		const cancel = callAt(dueMs, () => {
			this.#schedule(functionId, cron, Math.max(dueMs, Date.now()));
			this.#start(functionId, scheduledEvent(cron, dueMs));
		});
		this.#cancels.set(`${functionId} ${cron.text}`, cancel);
	}
}

function scheduledEvent(cron: CronSchedule, dueMs: number): DevEvent {
	const time = new Date(dueMs).toISOString().replace(/\.\d+Z$/, 'Z');
	const data = { cron: cron.text, scheduledAt: time, fireAt: time };
	// Its id is the time: a function starts once for it, even if its schedule changes meanwhile.
	return createEvent({ name: SCHEDULED, id: time, data, ts: dueMs });
}
