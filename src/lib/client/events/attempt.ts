import type { EventAnswer, EventRefusal } from '../../protocol/event.js';
import { isFatalStatus } from '../../protocol/status.js';
import { readMessage, readRetryAfter } from '../transport/request.js';
import { RealtimeEventError } from './error.js';

/** Sends a body to the endpoint. */
export type Post = (body: string, signal: AbortSignal) => Promise<Response>;

/** The result of one attempt to send an event. */
export type Outcome =
	| { answer: EventAnswer }
	| { failure: RealtimeEventError; isFinal: boolean; retryAfterMs?: number };

/** Sends an event once. Never rejects. */
export async function attempt(
	id: string,
	body: string,
	post: Post,
	signal: AbortSignal
): Promise<Outcome> {
	try {
		const response = await post(body, signal);
		const text = await response.text();
		const answer = response.ok && readAnswer(text);
		return answer ? { answer } : readRefusal(id, response, text);
	} catch (cause) {
		const message = `The event could not be sent (${(cause as Error)?.message}).`;
		const options = { cause, eventId: id };
		return { failure: new RealtimeEventError('EVENT_FAILED', message, options), isFinal: false };
	}
}

function readAnswer(text: string): EventAnswer | undefined {
	try {
		const answer = JSON.parse(text) as EventAnswer;
		return answer.status && answer.emitted ? answer : undefined;
	} catch {
		return undefined;
	}
}

function readRefusal(id: string, response: Response, text: string): Outcome {
	const { status, ok, headers } = response;
	// A response in another format will not change: it is usually a sign-in page.
	const isFinal = ok || isFatalStatus(status);
	let refusal: Partial<EventRefusal> = {};
	try {
		refusal = (JSON.parse(text) as EventRefusal | null) ?? {};
	} catch {
		// This response is not from the endpoint.
	}
	const message =
		readMessage(text) ?? `The realtime endpoint answered ${status}, not to the event.`;
	const { issues } = refusal;
	return {
		failure: new RealtimeEventError(codeOf(status, refusal), message, {
			eventId: id,
			status,
			...(Array.isArray(issues) && { issues })
		}),
		isFinal,
		retryAfterMs: readRetryAfter(headers)
	};
}

function codeOf(
	status: number,
	{ reason }: Partial<EventRefusal>
): 'EVENT_INVALID' | 'EVENT_OUTDATED' | 'EVENT_REFUSED' | 'EVENT_FAILED' {
	if (status === 422) return 'EVENT_INVALID';
	if (reason === 'outdated') return 'EVENT_OUTDATED';
	return status >= 500 ? 'EVENT_FAILED' : 'EVENT_REFUSED';
}
