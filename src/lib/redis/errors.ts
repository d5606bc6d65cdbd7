import { BackendError } from '../server/backend/support.js';

/** The prefix of an error reply of Redis. */
const CODE = /^[A-Z][A-Z0-9_]+\b/;

/** A call to Redis that failed. */
export class RedisError extends BackendError {
	override readonly name = 'RedisError';
	/** The code in Redis's reply, such as `NOPERM`, or the error of the socket, such as `ECONNREFUSED`. */
	readonly code: string | undefined;
	/** Whether Redis replied, so that the connection is good. */
	readonly isReply: boolean;

	constructor(message: string, options: { code?: string; isReply?: boolean } = {}) {
		super(message);
		this.code = options.code;
		this.isReply = options.isReply ?? false;
	}
}

/**
 * Describes the error of a client. The original may contain the arguments of the command, and so payloads, or
 * the address of the server. So it is neither quoted nor kept as `cause`.
 */
export function describe(error: unknown): RedisError {
	if (error instanceof RedisError) return error;
	const { message = '', code } = (error ?? {}) as { message?: string; code?: unknown };
	const reply = CODE.exec(message)?.[0];
	if (reply !== undefined) {
		// "unknown command" quotes the arguments.
		const text = message.split(/,? with args/)[0]!;
		return new RedisError(`Redis refused: ${text}`, { code: reply, isReply: true });
	}
	if (typeof code === 'string') {
		return new RedisError(`The connection to Redis failed: ${code}.`, { code });
	}
	return new RedisError('The connection to Redis failed.');
}

/** The error of a call that took too long. */
export function late(timeoutMs: number): RedisError {
	return new RedisError(`Redis has not answered for ${timeoutMs / 1000} s.`, { code: 'TIMEOUT' });
}

/** The error of every call after `close()`. */
export function closed(): RedisError {
	return new RedisError('This Redis backend was closed.', { code: 'CLOSED' });
}
