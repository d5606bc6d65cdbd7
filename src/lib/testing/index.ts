export { createTestBus } from './createTestBus.js';
export type { TestBus, TestBusMessage, TestBusOptions, TestBusTarget } from './createTestBus.js';
export {
	createTestRealtime,
	type TestRealtime,
	type TestRealtimeOptions
} from './createTestRealtime.js';
export {
	busContract,
	replayContract,
	type BackendDriver,
	type Matchers,
	type TestRunner
} from './contract/index.js';
