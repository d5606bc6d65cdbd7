/**
 * A hybrid logical clock: milliseconds, a counter, and who counted. Its stamps are texts that sort by time; it
 * never goes back, also when the machine's clock does.
 */
export class Clock {
	readonly #node: string;
	readonly #now: () => number;
	#ms = 0;
	#count = 0;

	/**
	 * @param node Tells the stamps of this clock from those of others.
	 * @param now Milliseconds since the epoch.
	 */
	constructor(node: string, now: () => number = Date.now) {
		this.#node = node;
		this.#now = now;
	}

	/** The next stamp, greater than all before. */
	tick(): string {
		const now = this.#now();
		if (now > this.#ms) {
			this.#ms = now;
			this.#count = 0;
		} else if (++this.#count > 0xffff) {
			this.#ms++;
			this.#count = 0;
		}
		return `${base36(this.#ms, 9)}-${base36(this.#count, 4)}-${this.#node}`;
	}

	/** Goes on after a stamp that was seen. */
	observe(stamp: string): void {
		const ms = stampMs(stamp);
		if (ms <= this.#ms) return;
		this.#ms = ms;
		this.#count = 0xffff;
	}

	/**
	 * When something was written that a page says it wrote then: at the latest now. A page whose clock is
	 * ahead gains nothing by it.
	 *
	 * @returns milliseconds since the epoch.
	 */
	clamp(stamp: string): number {
		return Math.min(stampMs(stamp), this.#now());
	}
}

const STAMP = /^([0-9a-z]{9})-[0-9a-z]{4}-[\w-]{1,64}$/;

/** Whether this is a stamp of a clock. */
export function isStamp(value: unknown): value is string {
	return typeof value === 'string' && STAMP.test(value);
}

/** The milliseconds of a stamp. */
export function stampMs(stamp: string): number {
	return parseInt(stamp.slice(0, 9), 36);
}

function base36(value: number, length: number): string {
	return value.toString(36).padStart(length, '0');
}
