import type { RealtimeMetric } from './metric.js';

/** One number of a counter. Keep it if you count often. */
export interface Count {
	value: number;
}

/** Counts by labels. Label values come from a bounded set: registry entries, outcomes, reasons. */
export class Counter<const TLabels extends readonly string[] = readonly []> {
	readonly #name: string;
	readonly #help: string;
	readonly #labels: TLabels;
	readonly #rows = new Map<string, Count & { readonly values: readonly string[] }>();

	constructor(name: string, help: string, labels: TLabels) {
		this.#name = name;
		this.#help = help;
		this.#labels = labels;
	}

	/** The number for these label values. */
	of(...values: { [K in keyof TLabels]: string }): Count {
		const key = values.join('\n');
		let row = this.#rows.get(key);
		if (!row) this.#rows.set(key, (row = { values, value: 0 }));
		return row;
	}

	read(): RealtimeMetric {
		return {
			name: this.#name,
			help: this.#help,
			type: 'counter',
			samples: [...this.#rows.values()].map(({ values, value }) => ({
				suffix: '',
				labels: labelsOf(this.#labels, values),
				value
			}))
		};
	}
}

/** Label names with their values. */
export function labelsOf(
	names: readonly string[],
	values: readonly string[]
): Record<string, string> {
	return Object.fromEntries(names.map((name, n) => [name, values[n]!]));
}
