import type { RequestEvent } from '@sveltejs/kit';
import type { RealtimeServerFailureStage } from '../../protocol/health.js';
import { RealtimeError } from '../../protocol/errors.js';
import type { Failure } from './failure.js';

/** What `onFailure` receives. */
export interface RealtimeServerFailureContext {
	stage: RealtimeServerFailureStage;
	/** The text that the browser will see, unless `onFailure` returns another. */
	message: string;
	/** HTTP status of the answer, or the one that a failing stream would have had. */
	status: number;
	/** The channel, where it is known. */
	channelId?: string;
	topics?: readonly string[];
	/** What was thrown; never sent to the browser. */
	error?: unknown;
	/** The request; absent where a failure does not belong to one request. */
	event?: RequestEvent;
}

/** Called at each failure; may replace the text that the browser sees. */
export type RealtimeServerFailureHandler = (
	failure: RealtimeServerFailureContext
) => void | { message: string };

/** Where a failure happened. */
export type FailurePlace = Pick<RealtimeServerFailureContext, 'channelId' | 'topics' | 'event'>;

/** Reports a failure. @returns the text for the browser. */
export type Report = (failure: Failure, place: FailurePlace) => string;

/** The one place that texts for browsers pass through; `onFailure` can never break a request. */
export function createReport(onFailure: RealtimeServerFailureHandler | undefined): Report {
	return ({ stage, status, message, cause }, place) => {
		const failure: RealtimeServerFailureContext = {
			stage,
			status,
			message,
			...place,
			...(cause !== undefined && { error: cause })
		};
		if (!onFailure) {
			if (cause !== undefined) logFailure(failure);
			return message;
		}
		try {
			const answer: unknown = onFailure(failure);
			if (answer instanceof Promise) answer.catch((error) => logThrown(error));
			const text = (answer as { message?: unknown } | null | undefined)?.message;
			return typeof text === 'string' ? text : message;
		} catch (error) {
			logThrown(error);
			return message;
		}
	};
}

function logFailure({ stage, channelId, message, error }: RealtimeServerFailureContext): void {
	const where = channelId === undefined ? '' : ` on "${channelId}"`;
	const text = `[sveltekit-inngest] ${stage} failed${where}: ${message}`;
	// An error of this package says all there is to say; a stack would show nothing but the package.
	if (error instanceof RealtimeError) console.error(`${text} ${error.message}`);
	else console.error(text, error);
}

function logThrown(error: unknown): void {
	console.error('[sveltekit-inngest] onFailure threw; the failure was handled without it.', error);
}
