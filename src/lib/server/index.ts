export {
	createRealtime,
	type Realtime,
	type RealtimeItem,
	type RealtimeStats,
	type RealtimeSubscribeOptions
} from './createRealtime.js';
export { createRealtimeEndpoint } from './createRealtimeEndpoint.js';
export type { RealtimeServerFailureContext, RealtimeServerFailureHandler } from './failure.js';
export type {
	RealtimeAuthorizeContext,
	RealtimeAuthorizeResult,
	RealtimeChannelConfig,
	RealtimeEndpointOptions,
	RealtimeHealthCheckOptions,
	RealtimeLimits,
	RealtimeReauthorizeContext
} from './options.js';
export type { RealtimeIterator, RealtimeResync } from './iterate.js';
export type { PublishData, PublishTarget } from './publish.js';
export {
	MemoryReplayStore,
	type ReplayedEvent,
	type ReplayEvent,
	type ReplayOptions,
	type ReplaySlice,
	type ReplayStore
} from './replay.js';
export { RealtimeError, type RealtimeErrorCode } from '../protocol/errors.js';
export type { RealtimeServerFailureStage } from '../protocol/health.js';
