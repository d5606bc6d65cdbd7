export { startInngestDev } from './engine.js';
export type { DevEventInput } from './events.js';
export type { DevLogger, DevPublishInput, InngestDev, InngestDevOptions } from './types.js';
