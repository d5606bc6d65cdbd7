export { busContract } from './bus.js';
export type { BackendDriver, Matchers, TestRunner } from './driver.js';
export { idempotencyContract } from './idempotency.js';
export { presenceContract } from './presence.js';
export { rateLimitContract } from './rateLimit.js';
export { replayContract } from './replay.js';
