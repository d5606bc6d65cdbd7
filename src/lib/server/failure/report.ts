import type { RequestEvent } from '@sveltejs/kit';
import type { RealtimeServerFailureStage } from '../../protocol/health.js';
import { RealtimeError } from '../../protocol/errors.js';
import { printable, quoted } from '../../protocol/quote.js';
import { isThenable } from '../runtime/thenable.js';
import { callApp, CALLBACK_TIMEOUT_MS, type CallbackError } from './callback.js';
import type { Failure } from './failure.js';

/** What `onFailure` receives. */
export interface RealtimeServerFailureContext {
	stage: RealtimeServerFailureStage;
	/** The text that the browser will see, unless `onFailure` returns another. */
	message: string;
	/** HTTP status of the response, or the status that an open stream would have had. */
	status: number;
	/** The channel, if it is known: as it was requested, including control characters. */
	channelId?: string;
	topics?: readonly string[];
	/**
	 * The callback of your app that threw or did not settle within `callbackTimeoutMs`: `authorize`,
	 * `reauthorize`, `view`, `channelParams`, `identify`, `limits.key` or `schema`; of an event also `upgrade`
	 * and `run`, which has its own limit.
	 */
	callback?: string;
	/**
	 * What was thrown, or a `RealtimeError` with the code `CALLBACK_TIMEOUT`. Never sent to the browser.
	 */
	error?: unknown;
	/** The request; absent if a failure does not belong to one request. */
	event?: RequestEvent;
	/** The name of the event, if a page sent one. */
	eventName?: string;
	/** The id of the event that the page chose, if a page sent one. */
	eventId?: string;
	/** The request's header `X-Request-ID`, or the new id in its place, if a page sent an event. */
	requestId?: string;
}

/** Called at each failure; may replace the text that the browser sees. */
export type RealtimeServerFailureHandler = (
	failure: RealtimeServerFailureContext
) => void | { message: string };

/** Where a failure happened. */
export type FailurePlace = Omit<
	RealtimeServerFailureContext,
	'stage' | 'message' | 'status' | 'callback' | 'error'
>;

/** Reports a failure. @returns the text for the browser. */
export type Report = (failure: Failure, place: FailurePlace) => string;

/** The one place that texts for browsers pass through; `onFailure` can never break a request. */
export function createReport(
	onFailure: RealtimeServerFailureHandler | undefined,
	callbackTimeoutMs: number = CALLBACK_TIMEOUT_MS
): Report {
	return ({ stage, status, message, cause, callback }, place) => {
		const failure: RealtimeServerFailureContext = {
			stage,
			status,
			message,
			...place,
			...(callback !== undefined && { callback }),
			...(cause !== undefined && { error: cause })
		};
		if (!onFailure) {
			if (cause !== undefined || callback !== undefined) logFailure(failure);
			return message;
		}
		try {
			const answer: unknown = callApp('onFailure', callbackTimeoutMs, () => onFailure(failure));
			if (isThenable(answer)) {
				answer.then(undefined, logThrown);
				return message;
			}
			const text = (answer as { message?: unknown } | null | undefined)?.message;
			return typeof text === 'string' ? text : message;
		} catch (error) {
			logThrown(error);
			return message;
		}
	};
}

function logFailure(failure: RealtimeServerFailureContext): void {
	const { stage, channelId, callback, message, error } = failure;
	const where = channelId === undefined ? '' : ` on ${quoted(channelId)}`;
	const by = callback === undefined ? '' : ` in ${callback}`;
	const text = `[sveltekit-inngest] ${stage} failed${where}${by}: ${printable(message)}`;
	// The text of an error of this package says everything; its stack would only show this package.
	if (error instanceof RealtimeError) console.error(`${text} ${printable(error.message)}`);
	else console.error(text, error);
}

function logThrown(error: unknown): void {
	const { kind, cause } = error as CallbackError;
	const what = kind === 'timeout' ? 'did not settle' : 'threw';
	console.error(
		`[sveltekit-inngest] onFailure ${what}; the failure was handled without it.`,
		cause
	);
}
