export {
	createRealtime,
	type Realtime,
	type RealtimeCursorOptions,
	type RealtimeHistoryOptions,
	type RealtimeItem,
	type RealtimeMessage,
	type RealtimeMembersOptions,
	type RealtimeStats,
	type RealtimeSubscribeOptions,
	type RealtimeViewerOptions
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
	RealtimeReauthorizeContext,
	RealtimeViewContext
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
export type { RealtimePressure, RealtimePriority } from './access/pressure.js';
export type { RealtimeMetric, RealtimeSample } from './metrics/metric.js';
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
export type { RealtimeEmit, RealtimeEmitOptions, RealtimePublish } from './emit.js';
export type {
	RealtimeEventAudit,
	RealtimeEventAuthorizeContext,
	RealtimeEventConfig,
	RealtimeEventOutcome,
	RealtimeOnce,
	RealtimeOnceOptions,
	RealtimeOnEvent
} from './events/options.js';
export type { RealtimeHistory, RealtimeHistoryRange } from './history.js';
export type { BusyChannel, HubStats } from './hub/hub.js';
export type {
	RealtimeSource,
	SourceListener,
	SourceMessage,
	SourceState,
	TokenCounts
} from './hub/source.js';
export type { RealtimeUpstreamOptions, WebSocketLike } from './inngest/options.js';
export type { PublishData, PublishTarget } from './inngest/target.js';
export type {
	EventInngestClient,
	RealtimeEndpointOptions,
	RealtimeHandlerContext,
	RealtimeHealthCheckOptions
} from './options.js';
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
export {
	defineEvent,
	type DefineEventOptions,
	type EmittedMessage,
	type EventChannel,
	type EventData,
	type EventDefinition,
	type EventInput,
	type EventIssue,
	type EventResult,
	type EventReturn
} from '../protocol/event.js';
export type { RealtimeServerFailureStage } from '../protocol/health.js';
