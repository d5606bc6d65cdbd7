import { labelsOf } from './counter.js';
import type { RealtimeMetric, RealtimeSample } from './metric.js';

/** Upper bounds in seconds, 1 ms to 1 s, for things that should be quick. */
export const QUICK_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1] as const;

/** Upper bounds in seconds, 1 s to 1 h, for the lifetimes of streams. */
export const LONG_SECONDS = [1, 5, 15, 60, 300, 900, 3_600] as const;

/** How many observations are below each bound, for one combination of label values. */
export class Distribution {
	readonly #bounds: readonly number[];
	readonly #counts: Float64Array;
	#sum = 0;

	constructor(bounds: readonly number[]) {
		this.#bounds = bounds;
		this.#counts = new Float64Array(bounds.length + 1);
	}

	observe(seconds: number): void {
		let n = 0;
		while (n < this.#bounds.length && seconds > this.#bounds[n]!) n++;
		this.#counts[n]!++;
		this.#sum += seconds;
	}

	samples(labels: Record<string, string>): RealtimeSample[] {
		let count = 0;
		const buckets = [...this.#bounds, Infinity].map((bound, n) => {
			count += this.#counts[n]!;
			const le = bound === Infinity ? '+Inf' : String(bound);
			return { suffix: '_bucket' as const, labels: { ...labels, le }, value: count };
		});
		return [
			...buckets,
			{ suffix: '_sum', labels, value: this.#sum },
			{ suffix: '_count', labels, value: count }
		];
	}
}

/** Durations by labels, in fixed buckets: an observation costs a few comparisons and no memory. */
export class Histogram<const TLabels extends readonly string[] = readonly []> {
	readonly #name: string;
	readonly #help: string;
	readonly #labels: TLabels;
	readonly #bounds: readonly number[];
	readonly #rows = new Map<string, { values: readonly string[]; distribution: Distribution }>();

	constructor(
		name: string,
		help: string,
		labels: TLabels,
		bounds: readonly number[] = QUICK_SECONDS
	) {
		this.#name = name;
		this.#help = help;
		this.#labels = labels;
		this.#bounds = bounds;
	}

	/** The durations for these values of the labels. Keep it if you observe often. */
	of(...values: { [K in keyof TLabels]: string }): Distribution {
		const key = values.join('\n');
		let row = this.#rows.get(key);
		if (!row) {
			row = { values, distribution: new Distribution(this.#bounds) };
			this.#rows.set(key, row);
		}
		return row.distribution;
	}

	read(): RealtimeMetric {
		return {
			name: this.#name,
			help: this.#help,
			type: 'histogram',
			samples: [...this.#rows.values()].flatMap(({ values, distribution }) =>
				distribution.samples(labelsOf(this.#labels, values))
			)
		};
	}
}
