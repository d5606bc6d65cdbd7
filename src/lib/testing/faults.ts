import { RealtimeError } from '../protocol/errors.js';

/** Ends a fault. Calling it again does nothing. */
export type EndFault = () => void;

/** Faults of one kind. Several may be on at the same time, and each is ended separately. */
export class Faults<TFault = true> {
	readonly #active = new Set<{ readonly fault: TFault }>();

	/** The active faults, oldest first. */
	get active(): readonly TFault[] {
		return [...this.#active].map(({ fault }) => fault);
	}

	get areOn(): boolean {
		return this.#active.size > 0;
	}

	/**
	 * Starts a fault.
	 *
	 * @param onEnd Called once, after it has ended.
	 */
	begin(fault: TFault, onEnd?: () => void): EndFault {
		const entry = { fault };
		this.#active.add(entry);
		return () => {
			if (this.#active.delete(entry)) onEnd?.();
		};
	}
}

/** @throws {RealtimeError} `INVALID_OPTION` when it is not a duration. */
export function checkDelay(delayMs: number): void {
	if (delayMs >= 0 && delayMs < Infinity) return;
	throw new RealtimeError(
		'INVALID_OPTION',
		`slow() needs zero or more milliseconds, not ${delayMs}.`
	);
}
