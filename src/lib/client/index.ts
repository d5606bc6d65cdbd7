export { default as RealtimeManager } from './RealtimeManager.svelte';
export {
	createRealtimeBus,
	type RealtimeBusHeaders,
	type RealtimeBusOptions,
	type RealtimeListenOptions,
	type RealtimeStandaloneBus
} from './createRealtimeBus.js';
export { getRealtimeBus } from './bus/context.js';
export { getRealtimeBusChannel } from './hooks/channel.js';
export { getRealtimeBusTopicMessages } from './hooks/messages.js';
export { getRealtimeBusPresence } from './hooks/presence.js';
export { onAsk } from './hooks/ask.js';
export { getRealtimeBusTopicRows } from './hooks/rows.js';
export { getRealtimeBusRun } from './hooks/run.js';
export { getRealtimeBusState } from './hooks/state.js';
export { getRealtimeBusTopicStream } from './hooks/stream.js';
export { getRealtimeBusTopicJson, getRealtimeBusTopicState } from './hooks/topic.js';
export { getRealtimeBusSend } from './events/send.js';
export { RealtimeEventError } from './events/error.js';
export { withPresence } from '../protocol/presence.js';
export { RealtimeError } from '../protocol/errors.js';
export { defineEvent } from '../protocol/event.js';

export type { RealtimeBus } from './bus/bus.js';
export type { RealtimeEventFields } from './events/error.js';
export type {
	RealtimePending,
	RealtimeSend,
	RealtimeSendOptions,
	RealtimeSent
} from './events/send.js';
export type { RealtimeChannel } from './hooks/channel.js';
export type { RealtimeRowChange, RealtimeRowsOptions, RealtimeTopicRows } from './hooks/rows.js';
export type { RealtimeMessagesOptions, RealtimeTopicMessages } from './hooks/messages.js';
export type {
	RealtimeRun,
	RealtimeRunOptions,
	RealtimeRunState,
	RealtimeRunStatus
} from './hooks/run.js';
export type {
	RealtimePresence,
	RealtimePresenceHookOptions,
	RealtimePresenceUpdateOptions
} from './hooks/presence.js';
export type { RealtimeAskContext } from './hooks/ask.js';
export type { RealtimeBusState, RealtimeOnMessage } from './hooks/state.js';
export type {
	RealtimeDataStream,
	RealtimeStreamOptions,
	RealtimeTopicStream
} from './hooks/stream.js';
export type {
	ChannelOf,
	ChannelSource,
	MessageOf,
	Reactive,
	ReactiveCurrent,
	RealtimeBusStatus,
	RealtimeClientFailureContext,
	RealtimeClientFailureSource,
	RealtimeHealthState,
	RealtimeOutdated,
	RealtimePauseReason,
	RealtimeReconnectOptions,
	RealtimeResolvedSubscription,
	RealtimeSubscription,
	RealtimeTopicState,
	TopicOf
} from './types.js';
export type {
	RealtimeHookOptions,
	RealtimeTopicOptions,
	RealtimeUnreadable
} from './hooks/options.js';
export type { RealtimeSelect, RealtimeSelected } from './hooks/select.js';
export type { RealtimeManagerBusProps, RealtimeManagerProps } from './props.js';
export type { ChannelLike, ChannelParams } from '../protocol/channel.js';
export type { RealtimeErrorCode } from '../protocol/errors.js';
export type {
	DefineEventOptions,
	EmittedMessage,
	EventChannel,
	EventData,
	EventDefinition,
	EventInput,
	EventIssue,
	EventResult,
	EventReturn
} from '../protocol/event.js';
export type {
	HealthPayload,
	HealthStatus,
	RealtimeServerFailureStage,
	ResyncPayload,
	ResyncReason
} from '../protocol/health.js';
export type { RealtimeRequestParam, RealtimeRequestParams } from '../protocol/request.js';
export type { PresenceData, RealtimeMember, WithPresence } from '../protocol/presence.js';
export type {
	MessageKind,
	Positioned,
	RealtimeTopicEnvelope,
	RealtimeTopicMessage,
	TopicData,
	TopicKey
} from '../protocol/types.js';
