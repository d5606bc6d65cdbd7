export { createTestBus } from './createTestBus.js';
export type {
	TestBus,
	TestBusEvent,
	TestBusMessage,
	TestBusOptions,
	TestBusTarget
} from './createTestBus.js';
