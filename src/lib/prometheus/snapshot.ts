import type { Realtime, RealtimeMetric } from '../server/index.js';

/** Reads the metrics of an endpoint once per turn: during a scrape, each metric asks for them. */
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
