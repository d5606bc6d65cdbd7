export {
	createRealtime,
	type Realtime,
	type RealtimeCursorOptions,
	type RealtimeItem,
	type RealtimeMembersOptions,
	type RealtimeStats,
	type RealtimeSubscribeOptions
} from './createRealtime.js';
export { createRealtimeEndpoint } from './createRealtimeEndpoint.js';
export type {
	RealtimeIdentify,
	RealtimeIdentifyResult,
	RealtimeIdentity
} from './access/identity.js';
export type {
	RealtimeAuthorizeContext,
	RealtimeAuthorizeResult,
	RealtimeChannelConfig,
	RealtimeLimits,
	RealtimeRate,
	RealtimeReauthorizeContext
} from './access/options.js';
export type {
	BackendBus,
	BusListener,
	BusPublishOptions,
	Published,
	RealtimeBackend
} from './backend/backend.js';
export type {
	PresenceChange,
	PresenceHolding,
	PresenceJoined,
	PresenceListener,
	PresenceMember,
	PresenceStore
} from './backend/presence.js';
export type { RateDecision, RateLimitStore, RateRule } from './backend/rateLimit.js';
export { MemoryReplayStore, memoryBackend, type ReplayOptions } from './backend/memory.js';
export type {
	ReplayBounds,
	ReplayedEvent,
	ReplayEvent,
	ReplayLimits,
	ReplaySlice,
	ReplayStore
} from './backend/replay.js';
export { RealtimeDenied } from './failure/denied.js';
export type {
	RealtimeServerFailureContext,
	RealtimeServerFailureHandler
} from './failure/report.js';
export type { RealtimeEmitOptions } from './emit.js';
export type { HubStats } from './hub/hub.js';
export type { RealtimeSource, SourceListener, SourceMessage, SourceState } from './hub/source.js';
export type { RealtimeUpstreamOptions, WebSocketLike } from './inngest/options.js';
export type { PublishData, PublishTarget } from './inngest/target.js';
export type { RealtimeEndpointOptions, RealtimeHealthCheckOptions } from './options.js';
export type { RealtimeAskOptions, RealtimeTarget } from './people.js';
export type {
	RealtimeMemberContext,
	RealtimePresenceContext,
	RealtimePresenceOptions
} from './presence/options.js';
export type { RealtimeIterator, RealtimeResync } from './subscribe.js';
export { withPresence } from '../protocol/presence.js';
export type { PresenceData, RealtimeMember, WithPresence } from '../protocol/presence.js';
export { RealtimeError, type RealtimeErrorCode } from '../protocol/errors.js';
export type { RealtimeServerFailureStage } from '../protocol/health.js';
