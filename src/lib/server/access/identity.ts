import type { RequestEvent } from '@sveltejs/kit';
import type { CallbackError } from '../failure/callback.js';
import { callApp } from '../failure/callback.js';
import { Failure, TEXT } from '../failure/failure.js';

/** Who a reader is: an id, and anything else your app wants to know about it. */
export interface RealtimeIdentity {
	/** Unique for each user; not empty. */
	readonly id: string;
	readonly [attribute: string]: unknown;
}

/** Identifies the reader behind a request; `null` for an anonymous one, such as a visitor. */
export type RealtimeIdentify = (context: {
	locals: App.Locals;
	event: RequestEvent;
}) => RealtimeIdentifyResult | PromiseLike<RealtimeIdentifyResult>;

/** The result of `identify`: an id, an id with attributes, or `null`. */
export type RealtimeIdentifyResult = string | RealtimeIdentity | null;

/**
 * Asks the app once who is behind a request.
 *
 * @throws {Failure} `admission`: 500 when `identify` throws or returns something else, 503 when it
 *   does not settle in time, 403 or the status of `error()` when it denies.
 */
export async function readIdentity(
	identify: RealtimeIdentify | undefined,
	event: RequestEvent,
	timeoutMs: number
): Promise<RealtimeIdentity | null> {
	if (!identify) return null;
	let answer: unknown;
	try {
		answer = await callApp('identify', timeoutMs, () => identify({ locals: event.locals, event }));
	} catch (error) {
		const texts = { denied: TEXT.denied, fault: TEXT.identity };
		throw (error as CallbackError).asFailure('admission', texts, 500);
	}
	if (answer === null) return null;
	const identity = typeof answer === 'string' ? { id: answer } : answer;
	if (isIdentity(identity)) return identity;
	const cause = new TypeError(
		'identify must return a non-empty string, an object with such an `id`, or null for an anonymous reader.'
	);
	throw new Failure('admission', 500, TEXT.identity, { cause, callback: 'identify' });
}

function isIdentity(value: unknown): value is RealtimeIdentity {
	const { id } = (value ?? {}) as { id?: unknown };
	return typeof id === 'string' && id !== '';
}
