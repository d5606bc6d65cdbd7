export { realtimeRouter, type RealtimeTrpcRouter } from './router.js';
export { realtimeErrorData, type RealtimeTrpcErrorData } from './errors.js';
export type {
	RealtimeTrpcContext,
	RealtimeTrpcEvent,
	RealtimeTrpcHistory,
	RealtimeTrpcHistoryInput,
	RealtimeTrpcItem,
	RealtimeTrpcSent,
	RealtimeTrpcSubscription,
	RealtimeTrpcTracked
} from './types.js';
