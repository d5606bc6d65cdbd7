/** One number of a metric. */
export interface RealtimeSample {
	/** Follows the metric's name: `_bucket`, `_sum` or `_count` for a histogram, otherwise nothing. */
	suffix: '' | '_bucket' | '_sum' | '_count';
	/** Keys of registry entries, names of events, and words of this package; nothing from a request. */
	labels: Readonly<Record<string, string>>;
	value: number;
}

/** The current numbers of one metric. */
export interface RealtimeMetric {
	/** Without a prefix, such as `streams_opened_total`. */
	name: string;
	help: string;
	type: 'counter' | 'gauge' | 'histogram';
	samples: readonly RealtimeSample[];
}

/** A metric whose value is read when it is asked for. */
export function gauge(
	name: string,
	help: string,
	values: number | readonly (readonly [labels: Record<string, string>, value: number])[]
): RealtimeMetric {
	return single('gauge', name, help, values);
}

/** A number that only grows and is kept elsewhere. */
export function total(
	name: string,
	help: string,
	values: number | readonly (readonly [labels: Record<string, string>, value: number])[]
): RealtimeMetric {
	return single('counter', name, help, values);
}

function single(
	type: 'counter' | 'gauge',
	name: string,
	help: string,
	values: number | readonly (readonly [Record<string, string>, number])[]
): RealtimeMetric {
	const rows = typeof values === 'number' ? [[{}, values] as const] : values;
	const samples = rows.map(([labels, value]) => ({ suffix: '' as const, labels, value }));
	return { name, help, type, samples };
}
