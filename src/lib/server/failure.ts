import type { RequestEvent } from '@sveltejs/kit';
import type { RealtimeServerFailureStage } from '../protocol/health.js';
import { isFatalStatus } from '../protocol/status.js';

/** What `onFailure` is told. */
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
	/** The request; absent where a failure is not of one request. */
	event?: RequestEvent;
}

/** Called at each failure; may replace the text that the browser sees. */
export type RealtimeServerFailureHandler = (
	failure: RealtimeServerFailureContext
) => void | { message: string };

/** Reports a failure. @returns the text for the browser. */
export type Report = (failure: RealtimeServerFailureContext) => string;

/** A failure on its way to the browser: as an HTTP answer or as a `degraded` event. */
export class Failure extends Error {
	readonly stage: RealtimeServerFailureStage;
	readonly status: number;
	/** Further fields of the JSON body. */
	readonly body: Readonly<Record<string, unknown>>;
	readonly headers: Readonly<Record<string, string>>;

	constructor(
		stage: RealtimeServerFailureStage,
		status: number,
		message: string,
		options: ErrorOptions & {
			body?: Record<string, unknown>;
			headers?: Record<string, string>;
		} = {}
	) {
		super(message, options);
		this.stage = stage;
		this.status = status;
		this.body = options.body ?? {};
		this.headers = options.headers ?? {};
	}

	/** Whether trying again unchanged cannot help: what is wrong is the request, not the server. */
	get isFatal(): boolean {
		return isFatalStatus(this.status);
	}
}

/** Fixed texts of failures whose cause must not reach a browser. */
export const TEXT = {
	upstream: 'Realtime is not available right now; it will be tried again.',
	upstreamLost: 'The connection to Inngest was lost; it is being restored.',
	store: 'The replay store failed; the stream starts anew.',
	resolution: 'The requested realtime channel could not be resolved.',
	stopping: 'This server is stopping.',
	closed: 'This realtime endpoint was closed.',
	denied: 'Not allowed to read this realtime channel.',
	revoked: 'The right to read this realtime channel was revoked.'
} as const;

/** The one place that texts for browsers pass through; `onFailure` can never break a request. */
export function createReport(onFailure: RealtimeServerFailureHandler | undefined): Report {
	return (failure) => {
		if (!onFailure) {
			if (failure.error !== undefined) logFailure(failure);
			return failure.message;
		}
		try {
			const answer: unknown = onFailure({ ...failure });
			if (answer instanceof Promise) answer.catch((error) => logThrown(error));
			const message = (answer as { message?: unknown } | null | undefined)?.message;
			return typeof message === 'string' ? message : failure.message;
		} catch (error) {
			logThrown(error);
			return failure.message;
		}
	};
}

function logFailure({ stage, channelId, message, error }: RealtimeServerFailureContext): void {
	const where = channelId === undefined ? '' : ` on "${channelId}"`;
	console.error(`[sveltekit-inngest] ${stage} failed${where}: ${message}`, error);
}

function logThrown(error: unknown): void {
	console.error('[sveltekit-inngest] onFailure threw; the failure was handled without it.', error);
}

/** The text of what an app's own callback threw: an `Error`, a string, or SvelteKit's `error(…)`. */
export function thrownMessage(thrown: unknown, fallback: string): string {
	if (typeof thrown === 'string') return thrown;
	const { message, body } = (thrown ?? {}) as {
		message?: unknown;
		body?: { message?: unknown };
	};
	const text = body?.message ?? message;
	return typeof text === 'string' && text !== '' ? text : fallback;
}

/** The status of SvelteKit's `error(…)`, if that was thrown. */
export function thrownStatus(thrown: unknown, fallback: number): number {
	const status = (thrown as { status?: unknown } | null)?.status;
	const isFailure = typeof status === 'number' && status >= 400 && status <= 599;
	return isFailure ? status : fallback;
}
