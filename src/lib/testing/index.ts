export { createTestBus } from './createTestBus.js';
export type {
	TestBus,
	TestBusEvent,
	TestBusMessage,
	TestBusOptions,
	TestBusTarget
} from './createTestBus.js';
export type { TestMember, TestPresence, TestPresenceUpdate } from './presence.js';
export {
	createTestRealtime,
	type TestQueuedEvent,
	type TestRealtime,
	type TestRealtimeOptions,
	type TestSent
} from './createTestRealtime.js';
export type { EndFault } from './faults.js';
export {
	busContract,
	idempotencyContract,
	presenceContract,
	rateLimitContract,
	replayContract,
	type BackendDriver,
	type Matchers,
	type TestRunner
} from './contract/index.js';
