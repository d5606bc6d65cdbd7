import { RealtimeError } from '../../protocol/errors.js';
import type { RealtimeServerFailureStage } from '../../protocol/health.js';
import { inTime } from '../runtime/deadline.js';
import { whenReady, type Answer } from '../runtime/thenable.js';
import { isDenied } from './denied.js';
import { Failure, thrownMessage, thrownStatus } from './failure.js';

/** Callbacks of the app, by the names of their options; `schema` is that of a topic, an event or members. */
export type RealtimeCallback =
	| 'authorize'
	| 'reauthorize'
	| 'view'
	| 'channelParams'
	| 'identify'
	| 'limits.key'
	| 'limits.rate.key'
	| 'presence.member'
	| 'presence.onJoin'
	| 'presence.onLeave'
	| 'presence.onFull'
	| 'onFailure'
	| 'onEvent'
	| 'run'
	| 'schema';

/** Default time limit of a callback, in milliseconds. */
export const CALLBACK_TIMEOUT_MS = 10_000;

/**
 * A callback of the app gave no answer, for one of these reasons:
 *
 * - `denial`: it threw `RealtimeDenied`;
 * - `refusal`: it threw SvelteKit's `error()`;
 * - `fault`: it threw anything else;
 * - `timeout`: it did not settle in time.
 *
 * Its `cause` is what was thrown, or a `RealtimeError` that says how long we waited.
 */
export class CallbackError extends Error {
	readonly callback: RealtimeCallback;
	readonly kind: 'denial' | 'refusal' | 'fault' | 'timeout';

	constructor(callback: RealtimeCallback, kind: CallbackError['kind'], cause: unknown) {
		super(`\`${callback}\` gave no answer (${kind}).`, { cause });
		this.callback = callback;
		this.kind = kind;
	}

	/**
	 * The failure to report. The app's text reaches the browser only if the app meant it to.
	 *
	 * @param texts The browser's texts for a denial without a text, and for a fault.
	 * @param faultStatus HTTP status of a fault; that of a timeout is always 503.
	 */
	asFailure(
		stage: RealtimeServerFailureStage,
		texts: { denied: string; fault: string },
		faultStatus = 503
	): Failure {
		const { kind, cause, callback } = this;
		const options = { cause, callback };
		if (kind === 'denial' || kind === 'refusal') {
			const status = kind === 'denial' ? 403 : thrownStatus(cause, 403);
			return new Failure(stage, status, thrownMessage(cause, texts.denied), options);
		}
		return new Failure(stage, kind === 'timeout' ? 503 : faultStatus, texts.fault, options);
	}
}

/**
 * Calls back into the app. Every call goes through here, in the async context that its caller chose, so that
 * a callback that never settles holds nothing up. Synchronous if the callback is.
 *
 * @param timeoutMs Its time limit; `false` if the caller has its own.
 * @throws {CallbackError} when it throws, rejects, or does not settle within `timeoutMs`.
 */
export function callApp<T>(
	callback: RealtimeCallback,
	timeoutMs: number | false,
	call: () => Answer<T>
): T | Promise<T> {
	const fail = (thrown: unknown): never => {
		throw thrown instanceof CallbackError
			? thrown
			: new CallbackError(callback, kindOf(thrown), thrown);
	};
	try {
		const answer =
			timeoutMs === false ? call() : inTime(call(), timeoutMs, () => timeout(callback, timeoutMs));
		return whenReady(answer, (value) => value, fail);
	} catch (thrown) {
		return fail(thrown);
	}
}

function kindOf(thrown: unknown): CallbackError['kind'] {
	if (isDenied(thrown)) return 'denial';
	return isHttpError(thrown) ? 'refusal' : 'fault';
}

/**
 * Whether SvelteKit's `error()` made this. It goes by the shape, because an app may have another copy of
 * SvelteKit. Errors of HTTP clients have a status, too, but they are instances of `Error`.
 */
function isHttpError(thrown: unknown): boolean {
	if (thrown instanceof Error) return false;
	const { body } = (thrown ?? {}) as { body?: { message?: unknown } | null };
	return typeof body?.message === 'string' && thrownStatus(thrown, 0) > 0;
}

function timeout(callback: RealtimeCallback, timeoutMs: number): CallbackError {
	const cause = new RealtimeError(
		'CALLBACK_TIMEOUT',
		`\`${callback}\` did not settle within ${timeoutMs} ms. Make it settle sooner, or raise \`callbackTimeoutMs\`.`
	);
	return new CallbackError(callback, 'timeout', cause);
}
