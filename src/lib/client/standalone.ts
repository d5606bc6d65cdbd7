/** The entry for code that has no components: scripts, workers, other frameworks. */
export {
	createRealtimeBus,
	type RealtimeBusHeaders,
	type RealtimeBusOptions,
	type RealtimeListenOptions,
	type RealtimeStandaloneBus
} from './createRealtimeBus.js';
export { RealtimeEventError, type RealtimeEventFields } from './events/error.js';
export { RealtimeError, type RealtimeErrorCode } from '../protocol/errors.js';
export { defineEvent } from '../protocol/event.js';
export type { RealtimeSent } from './events/send.js';
