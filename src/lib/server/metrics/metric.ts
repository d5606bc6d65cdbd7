/** One number of a metric. */
export interface RealtimeSample {
	/** What follows the metric's name: `_bucket`, `_sum` and `_count` of a histogram, else nothing. */
	suffix: '' | '_bucket' | '_sum' | '_count';
	/** Keys of registry entries, names of events, and words of this package; nothing of a request. */
	labels: Readonly<Record<string, string>>;
	value: number;
}

/** What one metric says now. */
export interface RealtimeMetric {
	/** Without a prefix: `streams_opened_total`. */
	name: string;
	help: string;
	type: 'counter' | 'gauge' | 'histogram';
	samples: readonly RealtimeSample[];
}

/** A metric whose value is read when somebody asks. */
export function gauge(
	name: string,
	help: string,
	values: number | readonly (readonly [labels: Record<string, string>, value: number])[]
): RealtimeMetric {
	return single('gauge', name, help, values);
}

/** A number that only grows, kept elsewhere. */
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
