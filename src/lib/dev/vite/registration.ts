import { post } from '../post.js';
import { printable } from '../printable.js';
import type { DevLogger } from '../types.js';
import { findEngine, hostFor } from './discover.js';

const TIMEOUT_MS = 30_000;

/**
 * Registers the app with a dev server of another process, any number of times, and logs the outcome in one
 * line whenever it has changed.
 */
export class Registration {
	readonly #logger: DevLogger;
	readonly #engineUrl: string;
	#said: string | undefined;

	constructor(logger: DevLogger, engineUrl: string) {
		this.#logger = logger;
		this.#engineUrl = engineUrl;
	}

	/** Asks the app that is served at `appUrl` to register. Never throws. */
	async register(appUrl: string, signal: AbortSignal): Promise<void> {
		const failure = await this.#attempt(appUrl, signal);
		if (!signal.aborted) this.#say(appUrl, failure);
	}

	/** Why the app did not register, or `undefined` if it did. */
	async #attempt(appUrl: string, signal: AbortSignal): Promise<string | undefined> {
		const engine = await findEngine(this.#engineUrl);
		if (!engine)
			return `Nothing answers at ${this.#engineUrl} any more: start the dev server again.`;
		try {
			const { status, body } = await post(appUrl, '{}', {
				method: 'PUT',
				// The SDK tells the dev server the host under which it was called.
				headers: { 'content-type': 'application/json', host: hostFor(engine, appUrl) },
				signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)])
			});
			return status === 200 ? undefined : explainStatus(status, body.toString('utf8'));
		} catch (error) {
			return `It cannot be reached: ${(error as Error).message}.`;
		}
	}

	#say(appUrl: string, failure: string | undefined): void {
		const said = failure
			? `[inngest dev] The app at ${appUrl} did not register. ${printable(failure)}`
			: `[inngest dev] Registered the app at ${appUrl} with the dev server at ${this.#engineUrl}`;
		if (said === this.#said) return;
		this.#said = said;
		if (failure) this.#logger.warn(said);
		else this.#logger.info(said);
	}
}

/** The meaning of an answer other than 200 to a request to register. */
export function explainStatus(status: number, text: string): string {
	if (status === 404) {
		return 'Nothing is served there: mount serve() of the Inngest SDK at this path, or set another path with the option servePath of inngestDev().';
	}
	return `It answered ${status}${text.startsWith('<') ? '' : `: ${readMessage(text).slice(0, 600)}`}.`;
}

/** The message in an answer of an SDK, otherwise the whole text. */
function readMessage(text: string): string {
	try {
		const { message } = JSON.parse(text) as { message?: unknown };
		return typeof message === 'string' ? message.replace(/\.$/, '') : text;
	} catch {
		return text;
	}
}
