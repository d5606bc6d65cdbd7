import type { RequestEvent } from '@sveltejs/kit';
import type { RealtimeRequestParams } from '../../protocol/request.js';
import type { RealtimeTopicEnvelope } from '../../protocol/types.js';
import type { CallbackError } from '../failure/callback.js';
import { callApp } from '../failure/callback.js';
import { Failure, TEXT, thrownMessage, thrownStatus } from '../failure/failure.js';
import { whenReady, type Answer } from '../runtime/thenable.js';
import type { RealtimeIdentity } from './identity.js';
import type { RealtimeAuthorizeContext } from './options.js';
import type { Match } from './registry.js';

/** Who makes a request. */
export interface AuthorizedReader {
	/** The result of `identify` when the request began. */
	identity: RealtimeIdentity | null;
	/** Asks again. @throws {Failure} when the app cannot tell. */
	identify(): Promise<RealtimeIdentity | null>;
}

/**
 * What one request may do with one channel, as the app's callbacks decide it.
 *
 * Before a stream starts, anything that `authorize` throws denies access. While the stream is open, only a
 * real denial does: an app whose database is unavailable has not said no.
 */
export class Authorization {
	readonly #match: Match;
	readonly #event: RequestEvent;
	readonly #params: RealtimeRequestParams;
	#identity: RealtimeIdentity | null;
	readonly #identify: () => Promise<RealtimeIdentity | null>;
	readonly #timeoutMs: number;
	#allowed: ReadonlySet<string> = new Set();

	constructor(
		match: Match,
		event: RequestEvent,
		params: RealtimeRequestParams,
		reader: AuthorizedReader,
		callbackTimeoutMs: number
	) {
		this.#match = match;
		this.#event = event;
		this.#params = params;
		this.#identity = reader.identity;
		this.#identify = reader.identify;
		this.#timeoutMs = callbackTimeoutMs;
	}

	/**
	 * Asks `authorize` once. @returns the topics that may be read.
	 *
	 * @throws {Failure} `authorization`: 403, the status of SvelteKit's `error()` if that was thrown, or
	 *   503 when `authorize` does not settle in time.
	 */
	async authorize(): Promise<ReadonlySet<string>> {
		const { topics } = this.#match;
		let result: unknown;
		try {
			result = await this.#authorize(topics);
		} catch (error) {
			throw refusedStart(error as CallbackError);
		}
		this.#allowed = new Set(topics.filter((topic) => isAllowed(result, topic)));
		if (this.#allowed.size === 0) {
			const cause = isResult(result) ? undefined : new TypeError(unexpectedResult(result));
			throw new Failure('authorization', 403, TEXT.denied, { cause });
		}
		return this.#allowed;
	}

	/**
	 * Asks who the reader is now, and whether all topics may still be read.
	 *
	 * @throws {Failure} `reauthorization`: 403 when one of them may not, the status of `error()` if that was
	 *   thrown, or 503 when the app cannot tell.
	 */
	async recheck(): Promise<void> {
		this.#identity = await this.#asked();
		const topics = [...this.#allowed];
		const result = await this.#checked(() => this.#authorize(topics));
		if (!topics.every((topic) => isAllowed(result, topic))) throw revoked();
	}

	/**
	 * Asks whether a message may be sent. Synchronous if the app's callback is.
	 *
	 * @throws {Failure} `reauthorization`: 403 when it may not, the status of `error()` if that was thrown, or
	 *   503 when the app cannot tell.
	 */
	checkMessage(message: RealtimeTopicEnvelope): void | Promise<void> {
		const { config, topics } = this.#match;
		const { topic } = message;
		if (!topics.includes(topic) || !this.#allowed.has(topic)) throw revoked();
		const { reauthorize } = config;
		const result = this.#checked(() =>
			reauthorize
				? callApp('reauthorize', this.#timeoutMs, () =>
						reauthorize({
							...this.#context([...this.#allowed]),
							messageTopic: topic,
							message
						} as never)
					)
				: this.#authorize([topic])
		);
		return whenReady(result, (result) => {
			if (reauthorize ? result !== true : !isAllowed(result, topic)) throw revoked();
		});
	}

	/** Who the reader is now. */
	async #asked(): Promise<RealtimeIdentity | null> {
		try {
			return await this.#identify();
		} catch (cause) {
			const { status } = cause as Failure;
			if (status < 500) throw new Failure('reauthorization', status, TEXT.revoked, { cause });
			throw new Failure('reauthorization', 503, TEXT.unchecked, { cause });
		}
	}

	#authorize(topics: readonly string[]): Answer<unknown> {
		const { config } = this.#match;
		return callApp('authorize', this.#timeoutMs, () =>
			config.authorize(this.#context(topics) as never)
		);
	}

	#context(topics: readonly string[]): RealtimeAuthorizeContext {
		const event = this.#event;
		return {
			event,
			locals: event.locals,
			request: event.request,
			channelId: this.#match.channel.name,
			topics: [...topics],
			params: { ...this.#params },
			identity: this.#identity
		};
	}

	/** Asks the app while a stream is open. */
	#checked(ask: () => Answer<unknown>): Answer<unknown> {
		const fail = (error: unknown): never => {
			const texts = { denied: TEXT.revoked, fault: TEXT.unchecked };
			throw (error as CallbackError).asFailure('reauthorization', texts);
		};
		try {
			return whenReady(ask(), (answer) => answer, fail);
		} catch (error) {
			return fail(error);
		}
	}
}

/** Anything thrown before the start denies: `throw new Error('Missing authenticated user')`. */
function refusedStart(error: CallbackError): Failure {
	const { kind, cause, callback } = error;
	if (kind !== 'fault') {
		return error.asFailure('authorization', { denied: TEXT.denied, fault: TEXT.unchecked });
	}
	return new Failure('authorization', thrownStatus(cause, 403), thrownMessage(cause, TEXT.denied), {
		cause,
		callback
	});
}

function isAllowed(result: unknown, topic: string): boolean {
	if (result === true) return true;
	const allowed = (result as { allowedTopics?: unknown } | null | undefined)?.allowedTopics;
	return Array.isArray(allowed) && allowed.includes(topic);
}

function isResult(result: unknown): boolean {
	const allowed = (result as { allowedTopics?: unknown } | null | undefined)?.allowedTopics;
	return typeof result === 'boolean' || Array.isArray(allowed);
}

function unexpectedResult(result: unknown): string {
	return `authorize must return true, false or { allowedTopics }, not ${typeof result}; the request was denied.`;
}

function revoked(): Failure {
	return new Failure('reauthorization', 403, TEXT.revoked);
}
