/** The hub of all isolates of a Cloudflare Worker, in a Durable Object. */
export {
	durableObjectBackend,
	type DurableObjectBackend,
	type DurableObjectBackendOptions
} from './backend.js';
export {
	createRealtimeHub,
	type RealtimeHubClass,
	type RealtimeHubObject,
	type RealtimeHubOptions,
	type RealtimeHubStats
} from './hub.js';
export type {
	ObjectNamespaceLike,
	ObjectStateLike,
	SqlRow,
	SqlStorageLike,
	StorageLike
} from './platform.js';
