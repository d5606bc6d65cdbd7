import type { Realtime } from '../../src/lib/server/index.js';

/** @returns the sum of the samples of a metric that have these labels. */
export function sum(realtime: Realtime, name: string, labels: Record<string, string> = {}): number {
	let total = 0;
	for (const metric of realtime.metrics()) {
		for (const sample of metric.samples) {
			if (`${metric.name}${sample.suffix}` !== name) continue;
			const isMeant = Object.entries(labels).every(([key, value]) => sample.labels[key] === value);
			if (isMeant) total += sample.value;
		}
	}
	return total;
}
