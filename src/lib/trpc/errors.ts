import { TRPCError, type TRPC_ERROR_CODE_KEY } from '@trpc/server';
import type { EventIssue, EventRefusal } from '../protocol/event.js';
import type { HealthPayload, RealtimeServerFailureStage } from '../protocol/health.js';
import { readMessage, readRetryAfter } from '../client/transport/request.js';

/** Further data of an error of these procedures, besides its code and its text. */
export interface RealtimeTrpcErrorData {
	/** HTTP status of the endpoint for the same failure. */
	status: number;
	/** Where on the server a subscription failed after it had started. */
	stage?: RealtimeServerFailureStage;
	/** With 422: the parts that do not match the event's schema. */
	issues?: EventIssue[];
	/** With 409: whether the id was used with other data, or the version is unknown. */
	reason?: 'conflict' | 'outdated';
	/** Milliseconds that the server asks to wait. */
	retryAfterMs?: number;
}

/** The `cause` of an error of these procedures. */
class RealtimeFailure extends Error {
	override readonly name = 'RealtimeFailure';
	readonly data: RealtimeTrpcErrorData;

	constructor(message: string, data: RealtimeTrpcErrorData) {
		super(message);
		this.data = data;
	}
}

/**
 * tRPC's link reopens a subscription after four codes: 500, 502, 503 and 504. So failures that may go away by
 * themselves get one of them, and failures that would come again get another code.
 */
const CODES: Readonly<Record<number, TRPC_ERROR_CODE_KEY>> = {
	400: 'BAD_REQUEST',
	401: 'UNAUTHORIZED',
	403: 'FORBIDDEN',
	404: 'NOT_FOUND',
	// The app's code took too long: it may be faster next time.
	408: 'GATEWAY_TIMEOUT',
	409: 'CONFLICT',
	// The channel was ended. tRPC has no special code for that.
	410: 'NOT_FOUND',
	412: 'PRECONDITION_FAILED',
	413: 'PAYLOAD_TOO_LARGE',
	422: 'UNPROCESSABLE_CONTENT',
	// The link knows no `Retry-After`, and would come back at once.
	429: 'TOO_MANY_REQUESTS',
	500: 'INTERNAL_SERVER_ERROR',
	502: 'BAD_GATEWAY',
	503: 'SERVICE_UNAVAILABLE',
	504: 'GATEWAY_TIMEOUT'
};

/** tRPC's code for an HTTP status of the endpoint. */
export function codeOf(status: number): TRPC_ERROR_CODE_KEY {
	return CODES[status] ?? (status >= 500 ? 'INTERNAL_SERVER_ERROR' : 'BAD_REQUEST');
}

function errorOf(message: string, data: RealtimeTrpcErrorData): TRPCError {
	const cause = new RealtimeFailure(message, data);
	return new TRPCError({ code: codeOf(data.status), message, cause });
}

/** The error for a response of the endpoint that is not the expected one. */
export async function refusalOf(response: Response): Promise<TRPCError> {
	const { status, headers } = response;
	const text = await response.text();
	let refusal: Partial<EventRefusal> = {};
	try {
		refusal = (JSON.parse(text) as EventRefusal | null) ?? {};
	} catch {
		// This response is not from the endpoint.
	}
	const { issues, reason } = refusal;
	const retryAfterMs = readRetryAfter(headers);
	return errorOf(readMessage(text) ?? `The realtime endpoint answered ${status}.`, {
		status: status < 400 ? 500 : status,
		...(issues && { issues }),
		...(reason && { reason }),
		...(retryAfterMs > 0 && { retryAfterMs })
	});
}

/** The error for a channel that the endpoint has ended. */
export function endOf({ detail, code = 503, stage }: HealthPayload): TRPCError {
	const message = detail ?? 'The realtime channel has ended.';
	return errorOf(message, { status: code, ...(stage && { stage }) });
}

/** The error that makes the link come back and resume where it was. */
export function comeBack(): TRPCError {
	return errorOf('The stream has ended; it resumes where it was.', {
		status: 503,
		stage: 'stream'
	});
}

/** The error for an input that the procedures do not accept. */
export function badInput(message: string): TRPCError {
	return errorOf(message, { status: 400 });
}

/**
 * Further data of an error of these procedures, for your `errorFormatter`.
 *
 * @returns `null` for any other error.
 * @example
 * ```ts
 * const t = initTRPC.context<{ event: RequestEvent }>().create({
 *   errorFormatter: ({ shape, error }) => ({
 *     ...shape,
 *     data: { ...shape.data, realtime: realtimeErrorData(error) }
 *   })
 * });
 * ```
 */
export function realtimeErrorData(error: { cause?: unknown }): RealtimeTrpcErrorData | null {
	return error.cause instanceof RealtimeFailure ? error.cause.data : null;
}
