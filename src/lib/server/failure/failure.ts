import type { RealtimeServerFailureStage } from '../../protocol/health.js';
import { isFatalStatus } from '../../protocol/status.js';

/** A failure on its way to the browser: as an HTTP answer or as a `degraded` event. */
export class Failure extends Error {
	readonly stage: RealtimeServerFailureStage;
	readonly status: number;
	/** Further fields of the JSON body. */
	readonly body: Readonly<Record<string, unknown>>;
	readonly headers: Readonly<Record<string, string>>;
	/** The app's callback that threw, or did not settle in time. */
	readonly callback: string | undefined;

	constructor(
		stage: RealtimeServerFailureStage,
		status: number,
		message: string,
		options: ErrorOptions & {
			body?: Record<string, unknown>;
			headers?: Record<string, string>;
			callback?: string | undefined;
		} = {}
	) {
		super(message, options);
		this.stage = stage;
		this.status = status;
		this.body = options.body ?? {};
		this.headers = options.headers ?? {};
		this.callback = options.callback;
	}

	/** Whether the same request would fail again: the request is wrong, not the server. */
	get isFatal(): boolean {
		return isFatalStatus(this.status);
	}
}

/** Fixed texts of failures whose cause must not reach a browser. */
export const TEXT = {
	upstream: 'Realtime is not available right now; it will be tried again.',
	upstreamLost: 'The connection to Inngest was lost; it is being restored.',
	historyAway: 'The history cannot be read right now; try again in a moment.',
	store: 'The replay store failed; the stream starts anew.',
	backendAway: (name: string) =>
		`The backend "${name}" is unavailable: messages arrive, but what is published meanwhile cannot be replayed.`,
	backendBack: (name: string) => `The backend "${name}" is back.`,
	resolution: 'The requested realtime channel could not be resolved.',
	counting: 'The stream could not be counted.',
	identity: 'This reader could not be identified.',
	hook: 'A hook of presence failed.',
	stopping: 'This server is stopping.',
	closed: 'This realtime endpoint was closed.',
	eventsBusy: 'This server cannot handle more events right now; try again in a moment.',
	eventDenied: 'Not allowed to send this event.',
	eventUnchecked: 'The event could not be checked; it will be tried again.',
	eventInvalid: 'The data of the event does not match its schema.',
	eventOutdated: 'This page sends a version of the event that is not known any more; reload it.',
	eventConflict: 'This id was used for another event.',
	eventRunning: 'The event is still being handled; ask again.',
	eventStore: 'Events cannot be handled right now; try again in a moment.',
	eventQueue: 'The event could not be queued; try again in a moment.',
	eventFailed: 'The event could not be handled.',
	denied: 'Not allowed to read this realtime channel.',
	revoked: 'The right to read this realtime channel was revoked.',
	unchecked: 'The right to read this realtime channel could not be checked; it will be tried again.'
} as const;

/** The text of what a callback of the app threw: an `Error`, a string, or SvelteKit's `error()`. */
export function thrownMessage(thrown: unknown, fallback: string): string {
	if (typeof thrown === 'string') return thrown;
	const { message, body } = (thrown ?? {}) as {
		message?: unknown;
		body?: { message?: unknown };
	};
	const text = body?.message ?? message;
	return typeof text === 'string' && text !== '' ? text : fallback;
}

/** The HTTP status of a thrown value, if it has one; SvelteKit's `error()` does. */
export function thrownStatus(thrown: unknown, fallback: number): number {
	const status = (thrown as { status?: unknown } | null)?.status;
	const isFailure = typeof status === 'number' && status >= 400 && status <= 599;
	return isFailure ? status : fallback;
}
