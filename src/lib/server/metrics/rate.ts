/** Seconds after which a burst counts for about a third of its size. */
const DECAY_SECONDS = 10;

/**
 * The recent amount per second: an average in which older amounts count for less. It has no timer, so
 * that it costs nothing while nothing happens.
 */
export class DecayingRate {
	#total = 0;
	#atMs = 0;

	add(amount: number, nowMs: number): void {
		this.#total = this.#decayed(nowMs) + amount;
		this.#atMs = nowMs;
	}

	perSecond(nowMs: number): number {
		return this.#decayed(nowMs) / DECAY_SECONDS;
	}

	#decayed(nowMs: number): number {
		return this.#total * Math.exp((this.#atMs - nowMs) / 1_000 / DECAY_SECONDS);
	}
}
