export { default as RealtimeManager } from './client/RealtimeManager.svelte';
export { getRealtimeBus } from './client/context.js';
export { getRealtimeBusChannel } from './client/hooks/channel.js';
export { getRealtimeBusTopicMessages } from './client/hooks/messages.js';
export { getRealtimeBusRun } from './client/hooks/run.js';
export { getRealtimeBusState } from './client/hooks/state.js';
export { getRealtimeBusTopicStream } from './client/hooks/stream.js';
export { getRealtimeBusTopicJson, getRealtimeBusTopicState } from './client/hooks/topic.js';
export { RealtimeError } from './protocol/errors.js';

export type { RealtimeBus } from './client/bus.js';
export type { RealtimeChannel } from './client/hooks/channel.js';
export type { RealtimeMessagesOptions, RealtimeTopicMessages } from './client/hooks/messages.js';
export type {
	RealtimeRun,
	RealtimeRunOptions,
	RealtimeRunState,
	RealtimeRunStatus
} from './client/hooks/run.js';
export type { RealtimeBusState, RealtimeOnMessage } from './client/hooks/state.js';
export type {
	RealtimeDataStream,
	RealtimeStreamOptions,
	RealtimeTopicStream
} from './client/hooks/stream.js';
export type {
	ChannelOf,
	ChannelSource,
	MessageOf,
	Reactive,
	ReactiveCurrent,
	RealtimeClientFailureContext,
	RealtimeClientFailureSource,
	RealtimeHealthState,
	RealtimeHookOptions,
	RealtimeManagerProps,
	RealtimeReconnectOptions,
	RealtimeResolvedSubscription,
	RealtimeSelect,
	RealtimeSelected,
	RealtimeSubscription,
	RealtimeTopicOptions,
	RealtimeTopicState,
	RealtimeUnreadable,
	TopicOf
} from './client/types.js';
export type { ChannelLike, ChannelParams } from './protocol/channel.js';
export type { RealtimeErrorCode } from './protocol/errors.js';
export type {
	HealthPayload,
	HealthStatus,
	RealtimeServerFailureStage,
	ResyncPayload,
	ResyncReason
} from './protocol/health.js';
export type { RealtimeRequestParam, RealtimeRequestParams } from './protocol/request.js';
export type {
	MessageKind,
	RealtimeTopicEnvelope,
	RealtimeTopicMessage,
	TopicData,
	TopicKey
} from './protocol/types.js';
