import { RealtimeError } from '../protocol/errors.js';
import type { Realtime, RealtimeMetric } from '../server/index.js';
import { checkNames, DEFAULT_PREFIX, type MetricOptions } from './options.js';
import { createSnapshot } from './snapshot.js';

/** A metric in the form that registries of `prom-client`, `@prometheus-io/client` and their forks accept. */
export interface RegisteredMetric {
	/** A registry for OpenMetrics removes `_total` from it, and adds it to the samples. */
	name: string;
	help: string;
	type: 'counter' | 'gauge' | 'histogram';
	/** How the numbers of several workers are combined. */
	aggregator: 'sum' | 'min' | 'max';
	get(): {
		name: string;
		help: string;
		type: 'counter' | 'gauge' | 'histogram';
		aggregator: 'sum' | 'min' | 'max';
		/** Without a `metricName`, a sample has the name of the metric. */
		values: { metricName?: string; labels: Record<string, string>; value: number }[];
	};
	/** Does nothing: counters begin when the process starts. */
	reset(): void;
}

/** The part of a registry that is used. It is the same in all libraries. */
export interface MetricRegister {
	registerMetric(metric: never): void;
	removeSingleMetric(name: string): void;
}

/** Options of `collect`. */
export interface CollectOptions extends MetricOptions {
	/** The registry that your app exposes: `register` of `prom-client`, or your own. */
	register: MetricRegister;
}

/** An endpoint whose metrics are in a registry. */
interface Collected {
	realtime: Pick<Realtime, 'metrics'>;
	labels: Record<string, string>;
	read(): RealtimeMetric[];
}

/** Metrics that make no sense as a sum over the workers of a machine. */
const AGGREGATORS: Readonly<Record<string, 'min' | 'max'>> = {
	source_up: 'max',
	backend_up: 'min',
	pressure: 'max',
	event_loop_delay_seconds: 'max'
};

/** The endpoints in each registry, by the prefix of their metrics. */
const registries = new WeakMap<MetricRegister, Map<string, Set<Collected>>>();

/**
 * Adds the metrics of an endpoint to a registry. They are read when the registry is scraped, and cost
 * nothing between two scrapes. Several endpoints may share a registry: give each its own `labels` or `prefix`. A
 * call for the same endpoint, or with the same `prefix` and `labels`, replaces what was there.
 *
 * @returns a function that removes them.
 * @throws {RealtimeError} `INVALID_OPTION` when `register` is not a registry, or when Prometheus does not
 *   accept a name or a label.
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
	const all = collectedIn(register, prefix);
	for (const other of all) {
		if (other.realtime === realtime || isSame(other.labels, labels)) all.delete(other);
	}
	const collected: Collected = { realtime, labels, read: createSnapshot(realtime) };
	all.add(collected);
	const metrics = collected.read();
	for (const metric of metrics) {
		// A registry refuses a name that it already has.
		register.removeSingleMetric(prefix + metric.name);
		register.registerMetric(registered(prefix, metric, all) as never);
	}
	return () => {
		if (!all.delete(collected) || all.size > 0) return;
		for (const { name } of metrics) register.removeSingleMetric(prefix + name);
	};
}

function collectedIn(register: MetricRegister, prefix: string): Set<Collected> {
	let prefixes = registries.get(register);
	if (!prefixes) registries.set(register, (prefixes = new Map()));
	let all = prefixes.get(prefix);
	if (!all) prefixes.set(prefix, (all = new Set()));
	return all;
}

function isSame(one: Record<string, string>, other: Record<string, string>): boolean {
	const names = Object.keys(one);
	return (
		names.length === Object.keys(other).length && names.every((name) => one[name] === other[name])
	);
}

function registered(
	prefix: string,
	{ name: own, help, type }: RealtimeMetric,
	all: ReadonlySet<Collected>
): RegisteredMetric {
	const name = prefix + own;
	const about = { help, type, aggregator: AGGREGATORS[own] ?? ('sum' as const) };
	const metric: RegisteredMetric = {
		name,
		...about,
		get: () => ({
			name: metric.name,
			...about,
			values: [...all].flatMap(({ read, labels: extra }) =>
				read()
					.filter((metric) => metric.name === own)
					.flatMap(({ samples }) => samples)
					.map(({ suffix, labels, value }) => ({
						...(suffix && { metricName: `${name}${suffix}` }),
						labels: { ...extra, ...labels },
						value
					}))
			)
		}),
		reset() {}
	};
	return metric;
}
