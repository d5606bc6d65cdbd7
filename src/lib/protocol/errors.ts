/** Codes of the errors that this package throws. */
export type RealtimeErrorCode =
	| 'INVALID_OPTION'
	| 'NO_MANAGER'
	| 'CHANNEL_NOT_ACTIVE'
	| 'DUPLICATE_CHANNEL'
	| 'UNKNOWN_CHANNEL'
	| 'UNKNOWN_TOPIC'
	| 'INVALID_MESSAGE'
	| 'UPSTREAM'
	| 'BACKEND'
	| 'TOKEN'
	| 'CALLBACK_TIMEOUT'
	| 'CLOSED'
	| 'NOBODY'
	| 'TIMEOUT'
	| 'DENIED'
	| 'HANDLER'
	| 'UNSUPPORTED'
	| 'EVENT_INVALID'
	| 'EVENT_REFUSED'
	| 'EVENT_OUTDATED'
	| 'EVENT_FAILED'
	| 'EVENT_EXPIRED'
	| 'EVENT_QUEUE_FULL'
	| 'SYNC_REFUSED'
	| 'SYNC_DENIED'
	| 'SYNC_STALLED'
	| 'SYNC_OUTDATED'
	| 'SYNC_OFFLINE'
	| 'SYNC_STORAGE'
	| 'SYNC_QUOTA'
	| 'SYNC_BLOCKED';

/** An error of this package: its `code` is stable, its message says what to do. */
export class RealtimeError extends Error {
	override readonly name = 'RealtimeError';
	readonly code: RealtimeErrorCode;

	constructor(code: RealtimeErrorCode, message: string, options?: ErrorOptions) {
		super(message, options);
		this.code = code;
	}
}
