import { RealtimeError } from '../protocol/errors.js';
import type { Realtime, RealtimeMetric } from '../server/index.js';
import { checkNames, DEFAULT_PREFIX, type MetricOptions } from './options.js';
import { createSnapshot } from './snapshot.js';

/** A metric as registries of `prom-client`, `@prometheus-io/client` and their forks take it. */
export interface RegisteredMetric {
	name: string;
	help: string;
	type: 'counter' | 'gauge' | 'histogram';
	aggregator: 'sum';
	get(): {
		name: string;
		help: string;
		type: 'counter' | 'gauge' | 'histogram';
		aggregator: 'sum';
		values: { metricName: string; labels: Record<string, string>; value: number }[];
	};
	/** Does nothing: counters begin with the process. */
	reset(): void;
}

/** The part of a registry that is used, whichever library it is of. */
export interface MetricRegister {
	registerMetric(metric: never): void;
	removeSingleMetric(name: string): void;
}

/** Options of `collect`. */
export interface CollectOptions extends MetricOptions {
	/** The registry that your app exposes: `register` of `prom-client`, or one of your own. */
	register: MetricRegister;
}

/**
 * Adds the metrics of an endpoint to a registry. They are read when the registry is scraped, and cost
 * nothing in between. Called again with the same names, it replaces what was registered.
 *
 * @returns a function that removes them.
 * @throws {RealtimeError} `INVALID_OPTION` for what is no registry, or for names that Prometheus does not
 *   take.
 * @example
 * ```ts
 * import { register } from 'prom-client';
 * collect(realtime, { register, labels: { app: 'shop' } });
 * ```
 */
export function collect(realtime: Pick<Realtime, 'metrics'>, options: CollectOptions): () => void {
	const { register, prefix = DEFAULT_PREFIX, labels = {} } = options;
	checkNames(options);
	if (typeof register?.registerMetric !== 'function') {
		throw new RealtimeError(
			'INVALID_OPTION',
			'`register` is not a registry: pass `register` of prom-client, or a `new Registry()`.'
		);
	}
	const read = createSnapshot(realtime);
	const names = read().map((metric) => `${prefix}${metric.name}`);
	for (const [n, name] of names.entries()) {
		// A registry refuses a name that it has.
		register.removeSingleMetric(name);
		register.registerMetric(registered(name, () => read()[n]!, labels) as never);
	}
	return () => {
		for (const name of names) register.removeSingleMetric(name);
	};
}

function registered(
	name: string,
	read: () => RealtimeMetric,
	extra: Record<string, string>
): RegisteredMetric {
	const { help, type } = read();
	const about = { name, help, type, aggregator: 'sum' as const };
	return {
		...about,
		get: () => ({
			...about,
			values: read().samples.map(({ suffix, labels, value }) => ({
				metricName: `${name}${suffix}`,
				labels: { ...extra, ...labels },
				value
			}))
		}),
		reset() {}
	};
}
