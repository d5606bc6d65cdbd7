import type { GuardedBackend } from './backend/guard.js';
import type { Pressure } from './access/pressure.js';
import type { Hubs } from './hubs.js';
import type { EndpointMeters } from './metrics/endpointMeters.js';
import { gauge, type RealtimeMetric } from './metrics/metric.js';
import type { Presence } from './presence/presence.js';
import type { Responder } from './respond.js';

/** Where the metrics of an endpoint come from. */
export interface MetricSources {
	meters: EndpointMeters;
	responder: Responder;
	hubs: Hubs;
	presence: Presence;
	backend: GuardedBackend | undefined;
	pressure: Pressure;
}

/** The metrics of an endpoint, and those of its hub for all endpoints of the Inngest client. */
export function readMetrics(from: MetricSources): RealtimeMetric[] {
	const { meters, responder, hubs, presence, backend, pressure } = from;
	const { feeds, sources, replay } = hubs.stats;
	const perSource = <T>(read: (source: (typeof sources)[string]) => T) =>
		Object.entries(sources).map(([source, stats]) => [{ source }, read(stats)] as const);
	const { reading } = pressure;
	return [
		gauge('streams', 'Streams that are open.', responder.streams),
		...meters.read(),
		gauge('feeds', 'Channels that are listened to, including those kept warm.', feeds),
		gauge('replay_events', 'Messages that this process keeps for replay.', replay.events),
		gauge('replay_bytes', 'Bytes that this process keeps for replay.', replay.bytes),
		...hubs.readMeters(),
		gauge(
			'source_up',
			'Whether the connection of a source is open.',
			perSource(({ state }) => Number(state === 'open'))
		),
		gauge(
			'source_sockets',
			'Connections of a source.',
			perSource(({ sockets }) => sockets)
		),
		gauge(
			'presence_members',
			'Members of channels that have readers in this process.',
			[...presence.membersByEntry()].map(([channel, members]) => [{ channel }, members] as const)
		),
		gauge(
			'backend_up',
			'Whether the circuit breaker of the backend is closed.',
			backend ? [[{ backend: backend.name }, Number(backend.breaker.state === 'closed')]] : []
		),
		backend?.breaker.readLatency() ?? {
			name: 'backend_duration_seconds',
			help: 'How long calls to the backend took.',
			type: 'histogram',
			samples: []
		},
		gauge(
			'pressure',
			'Latest measurement divided by its limit; 1 is at the limit.',
			pressure.level
		),
		gauge(
			'event_loop_delay_seconds',
			'Longest delay of timers in the last 2 seconds; 0 without `limits.pressure`.',
			reading.eventLoopDelayMs / 1_000
		)
	];
}
