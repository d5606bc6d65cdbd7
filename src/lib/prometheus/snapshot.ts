import type { Realtime, RealtimeMetric } from '../server/index.js';

/**
 * Reads the metrics of an endpoint once per turn of the event loop: a scrape asks for each metric separately.
 */
export function createSnapshot(realtime: Pick<Realtime, 'metrics'>): () => RealtimeMetric[] {
	let snapshot: RealtimeMetric[] | undefined;
	return () => {
		if (!snapshot) {
			snapshot = realtime.metrics();
			queueMicrotask(() => (snapshot = undefined));
		}
		return snapshot;
	};
}
