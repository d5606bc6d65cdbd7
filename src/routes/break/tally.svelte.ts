/** How a number arrived. `lost` and `missing` did not; for `lost` the server had announced a gap. */
export type Way = 'live' | 'replayed' | 'lost' | 'missing';

/** How many numbers the picture shows. */
export const SHOWN = 180;

/** Counts which of 1, 2, 3 … arrive, and which do not. */
export class Tally {
	received = $state(0);
	/** Received from the server's log, after a reconnect. */
	replayed = $state(0);
	/** Received twice. */
	repeated = $state(0);
	/** How often the server announced a gap. */
	announced = $state(0);
	/** Not received, and the server announced it. */
	lost = $state(0);
	/** Not received, and nobody announced it. */
	missing = $state(0);
	first = $state(0);
	last = $state(0);
	/** How the last numbers arrived, each at `n % SHOWN`. */
	readonly ways: (Way | null)[] = $state(Array.from({ length: SHOWN }, () => null));
	#run = '';
	#warned = false;

	/** Counts a number that arrived. */
	take(run: string, n: number, way: 'live' | 'replayed'): void {
		if (run !== this.#run) this.#reset(run, n);
		if (n <= this.last) {
			this.repeated++;
			return;
		}
		for (let gone = this.last + 1; gone < n; gone++) {
			if (this.#warned) this.lost++;
			else this.missing++;
			this.#mark(gone, this.#warned ? 'lost' : 'missing');
		}
		this.#warned = false;
		this.last = n;
		this.received++;
		if (way === 'replayed') this.replayed++;
		this.#mark(n, way);
	}

	/** Counts an announcement that messages may be missing. */
	warn(): void {
		this.announced++;
		this.#warned = true;
	}

	/** How many numbers were sent since the first one received, if the server has sent `sent` in all. */
	sentSince(sent: number): number {
		// `sent` may be older than the last number received.
		return this.first === 0 ? 0 : Math.max(sent, this.last) - this.first + 1;
	}

	#mark(n: number, way: Way): void {
		this.ways[n % SHOWN] = way;
		this.ways[(n + 1) % SHOWN] = null;
	}

	#reset(run: string, n: number): void {
		this.#run = run;
		this.#warned = false;
		this.received = this.replayed = this.repeated = this.announced = this.lost = this.missing = 0;
		this.first = n;
		this.last = n - 1;
		this.ways.fill(null);
	}
}
