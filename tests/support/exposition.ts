/** One line of an exposition that is a number. */
interface Sample {
	name: string;
	labels: Record<string, string>;
	value: number;
}

/** A metric with its samples. */
export interface ExposedMetric {
	type: string;
	samples: Sample[];
}

const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/y;

/**
 * Reads a text of Prometheus's format, or of OpenMetrics.
 *
 * @throws when it breaks a rule of its format.
 */
export function readExposition(text: string): Map<string, ExposedMetric> {
	const isOpenMetrics = text.endsWith('\n# EOF\n');
	const metrics = new Map<string, ExposedMetric>();
	const helped = new Set<string>();
	let current = '';
	for (const line of text.replace(/# EOF\n$/, '').split('\n')) {
		if (line === '') continue;
		const [, keyword, name, rest] = /^# (HELP|TYPE) ([a-zA-Z_:][\w:]*) (.*)$/.exec(line) ?? [];
		if (keyword === 'HELP') {
			if (helped.has(name!)) throw new Error(`HELP comes twice: ${line}`);
			helped.add((current = name!));
		} else if (keyword === 'TYPE') {
			if (metrics.has(name!)) throw new Error(`TYPE comes twice: ${line}`);
			if (name !== current) throw new Error(`TYPE without its HELP: ${line}`);
			if (rest === 'counter' && name.endsWith('_total') === isOpenMetrics) {
				throw new Error(`A counter has the wrong name for its format: ${line}`);
			}
			metrics.set(name, { type: rest!, samples: [] });
		} else {
			const sample = readSample(line);
			const metric = metrics.get(current);
			const suffixes =
				metric?.type === 'histogram'
					? ['_bucket', '_sum', '_count']
					: [metric?.type === 'counter' && isOpenMetrics ? '_total' : ''];
			if (!metric || !suffixes.some((suffix) => sample.name === current + suffix)) {
				throw new Error(`A sample stands below another metric: ${line}`);
			}
			metric.samples.push(sample);
		}
	}
	for (const [name, metric] of metrics) checkMetric(name, metric);
	return metrics;
}

function readSample(line: string): Sample {
	const [, name, , inner = '', value] =
		/^([a-zA-Z_:][\w:]*)(\{(.*)\})? (-?[0-9.]+(?:e[+-]?\d+)?|[+-]Inf|NaN)$/.exec(line) ?? [];
	if (name === undefined) throw new Error(`This is no sample: ${line}`);
	const labels: Record<string, string> = {};
	LABEL.lastIndex = 0;
	while (LABEL.lastIndex < inner.length) {
		const [, label, text] = LABEL.exec(inner) ?? [];
		if (label === undefined || label in labels) throw new Error(`Labels are wrong: ${line}`);
		labels[label] = text!;
	}
	return { name, labels, value: Number(value) };
}

function checkMetric(name: string, { type, samples }: ExposedMetric): void {
	const series = new Set(samples.map((sample) => JSON.stringify([sample.name, sample.labels])));
	if (series.size < samples.length) throw new Error(`A series of ${name} comes twice.`);
	if (type === 'counter' && samples.some(({ value }) => !(value >= 0))) {
		throw new Error(`A counter is below zero: ${name}`);
	}
	if (type !== 'histogram') return;
	const last = { bound: Infinity, value: Infinity };
	for (const { name: own, labels, value } of samples) {
		if (own.endsWith('_bucket')) {
			const bound = Number(labels.le!.replace('+Inf', 'Infinity'));
			const isFirst = last.bound === Infinity;
			if (!isFirst && (bound <= last.bound || value < last.value)) {
				throw new Error(`Buckets of ${name} are not cumulative.`);
			}
			Object.assign(last, { bound, value });
		} else if (own.endsWith('_count') && (last.bound !== Infinity || value !== last.value)) {
			throw new Error(`The last bucket of ${name} is not its count.`);
		}
	}
}
