export { busContract } from './bus.js';
export type { BackendDriver, Matchers, TestRunner } from './driver.js';
export { replayContract } from './replay.js';
export { idempotencyContract } from './idempotency.js';
