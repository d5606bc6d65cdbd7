import type { RequestEvent } from '@sveltejs/kit';
import type { RealtimeTopicEnvelope } from '../../protocol/types.js';
import { Failure, TEXT, thrownMessage, thrownStatus } from '../failure/failure.js';
import { whenReady } from '../runtime/thenable.js';
import type { RealtimeAuthorizeContext, RealtimeAuthorizeResult } from './options.js';
import type { Match } from './registry.js';
import type { RealtimeRequestParams } from '../../protocol/request.js';

/** The rights of one request to one channel, asked of the app's callbacks. */
export class Authorization {
	readonly #match: Match;
	readonly #event: RequestEvent;
	readonly #params: RealtimeRequestParams;
	#allowed: ReadonlySet<string> = new Set();

	constructor(match: Match, event: RequestEvent, params: RealtimeRequestParams) {
		this.#match = match;
		this.#event = event;
		this.#params = params;
	}

	/**
	 * Asks `authorize` once. @returns the topics that may be read.
	 *
	 * @throws {Failure} `authorization` 403, or the status of SvelteKit's `error(…)` where that was thrown.
	 */
	async authorize(): Promise<ReadonlySet<string>> {
		const { config, topics } = this.#match;
		let result: unknown;
		try {
			result = await config.authorize(this.#context(topics) as never);
		} catch (error) {
			throw new Failure(
				'authorization',
				thrownStatus(error, 403),
				thrownMessage(error, TEXT.denied),
				{ cause: error }
			);
		}
		this.#allowed = new Set(topics.filter((topic) => isAllowed(result, topic)));
		if (this.#allowed.size === 0) {
			const cause = isResult(result) ? undefined : new TypeError(unexpectedResult(result));
			throw new Failure('authorization', 403, TEXT.denied, { cause });
		}
		return this.#allowed;
	}

	/**
	 * Asks whether all topics may still be read.
	 *
	 * @throws {Failure} `reauthorization` 403 when one of them may not, or the status of `error(…)`.
	 */
	async recheck(): Promise<void> {
		const topics = [...this.#allowed];
		const result = await this.#ask(() =>
			this.#match.config.authorize(this.#context(topics) as never)
		);
		if (!topics.every((topic) => isAllowed(result, topic))) throw revoked();
	}

	/**
	 * Asks whether a message may be sent. Answers at once where the app's callback does.
	 *
	 * @throws {Failure} `reauthorization` 403 when it may not, or the status of `error(…)`.
	 */
	checkMessage(message: RealtimeTopicEnvelope): void | Promise<void> {
		const { config, topics } = this.#match;
		const { topic } = message;
		if (!topics.includes(topic) || !this.#allowed.has(topic)) throw revoked();
		const { reauthorize } = config;
		const pass = (result: unknown): void => {
			if (reauthorize ? result !== true : !isAllowed(result, topic)) throw revoked();
		};
		const result = this.#ask(() =>
			reauthorize
				? reauthorize({
						...this.#context([...this.#allowed]),
						messageTopic: topic,
						message
					} as never)
				: config.authorize(this.#context([topic]) as never)
		);
		return whenReady(result, pass);
	}

	#context(topics: readonly string[]): RealtimeAuthorizeContext {
		const event = this.#event;
		return {
			event,
			locals: event.locals,
			request: event.request,
			channelId: this.#match.channel.name,
			topics: [...topics],
			params: { ...this.#params }
		};
	}

	/** Calls back into the app; what it throws is what the browser is told. */
	#ask(callback: () => unknown): unknown {
		const fail = (error: unknown): never => {
			throw denied(error);
		};
		try {
			return whenReady(callback(), (answer) => answer, fail);
		} catch (error) {
			fail(error);
		}
	}
}

function isAllowed(result: unknown, topic: string): boolean {
	if (result === true) return true;
	const allowed = (result as { allowedTopics?: unknown } | null | undefined)?.allowedTopics;
	return Array.isArray(allowed) && allowed.includes(topic);
}

function isResult(result: unknown): result is RealtimeAuthorizeResult {
	const allowed = (result as { allowedTopics?: unknown } | null | undefined)?.allowedTopics;
	return typeof result === 'boolean' || Array.isArray(allowed);
}

function unexpectedResult(result: unknown): string {
	return `authorize must return true, false or { allowedTopics }, not ${typeof result}; the request was denied.`;
}

function denied(error: unknown): Failure {
	const message = thrownMessage(error, TEXT.revoked);
	return new Failure('reauthorization', thrownStatus(error, 403), message, { cause: error });
}

function revoked(): Failure {
	return new Failure('reauthorization', 403, TEXT.revoked);
}
