export { redisBackend, type RedisBackend, type RedisBackendOptions } from './backend.js';
export type { RedisClient } from './clients.js';
