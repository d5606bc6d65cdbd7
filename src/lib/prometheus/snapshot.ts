import type { Realtime, RealtimeMetric } from '../server/index.js';

/** Reads the metrics of an endpoint once for everybody who asks in the same turn: a scrape asks for each. */
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
