/** How a number came. `lost` is one that did not, after the server said that some may be missing. */
export type Way = 'live' | 'replayed' | 'lost' | 'missing';

/** Numbers that the picture shows. */
export const SHOWN = 180;

/** Counts what arrives of 1, 2, 3 … and what does not. */
export class Tally {
	received = $state(0);
	/** Received after a reconnect, from the server's log. */
	replayed = $state(0);
	/** Received twice. */
	repeated = $state(0);
	/** Times that the server said that messages may be missing. */
	announced = $state(0);
	/** Not received, and the server said so. */
	lost = $state(0);
	/** Not received, and nobody said so. */
	missing = $state(0);
	first = $state(0);
	last = $state(0);
	/** The way of the last numbers, each at `n % SHOWN`. */
	readonly ways: (Way | null)[] = $state(Array.from({ length: SHOWN }, () => null));
	#run = '';
	#warned = false;

	/** A number came. */
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

	/** The server said that messages may be missing. */
	warn(): void {
		this.announced++;
		this.#warned = true;
	}

	/** Numbers sent since the first one that was received, out of `sent` in all. */
	sentSince(sent: number): number {
		// One that was received has been sent, whatever the server's last word about it is.
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
