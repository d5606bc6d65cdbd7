/** A `fetch` that can be cut, as networks are. Whoever uses it sees what it would see then. */
export class Line {
	#up = $state(true);
	#cutter = new AbortController();

	/** Whether requests come through. */
	get up(): boolean {
		return this.#up;
	}

	readonly fetch: typeof globalThis.fetch = (input, init = {}) => {
		if (!this.#up) return Promise.reject(new TypeError('The line is down'));
		const signals = [this.#cutter.signal, ...(init.signal ? [init.signal] : [])];
		return globalThis.fetch(input, { ...init, signal: AbortSignal.any(signals) });
	};

	/** Ends what is under way. */
	cut(): void {
		this.#cutter.abort(new TypeError('The line was cut'));
		this.#cutter = new AbortController();
	}

	takeDown(): void {
		this.#up = false;
		this.cut();
	}

	putUp(): void {
		this.#up = true;
	}
}
