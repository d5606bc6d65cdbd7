export { startInngestDev } from './engine.js';
export type { DevEventInput } from './events.js';
export type {
	DevLogger,
	DevPublishInput,
	DevRun,
	DevRunStatus,
	InngestDev,
	InngestDevOptions
} from './types.js';
