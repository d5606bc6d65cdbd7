export { createTestBus } from './createTestBus.js';
export type { TestBus, TestBusMessage, TestBusOptions, TestBusTarget } from './createTestBus.js';
