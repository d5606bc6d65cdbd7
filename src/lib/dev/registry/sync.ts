import { post } from '../post.js';
import type { DevLogger } from '../types.js';
import type { Warnings } from '../warnings.js';

const POLL_MS = 5_000;
const FIRST_POLL_MS = 250;
const TIMEOUT_MS = 10_000;

/**
 * Keeps an app registered: asks its serve endpoint to register as soon as it answers, and every 5
 * seconds from then on, as the real dev server does. Ended by `close()`.
 */
export class AppSync {
	readonly #url: string;
	readonly #warnings: Warnings;
	readonly #logger: DevLogger;
	readonly #isRegistered: () => boolean;
	readonly #closed = new AbortController();
	#timer: NodeJS.Timeout | undefined;
	#failures = 0;
	#lastProblem = '';

	/** @param isRegistered Whether a function of this app's endpoint has arrived. */
	constructor(url: string, { warnings, logger, isRegistered }: SyncSurroundings) {
		this.#url = url;
		this.#warnings = warnings;
		this.#logger = logger;
		this.#isRegistered = isRegistered;
		void this.#poll();
	}

	close(): void {
		clearTimeout(this.#timer);
		this.#closed.abort();
	}

	async #poll(): Promise<void> {
		const registered = await this.#sync();
		if (this.#closed.signal.aborted) return;
		// An app that is just starting answers soon; one that is not there is no reason to be busy.
		const delayMs = registered ? POLL_MS : Math.min(POLL_MS, FIRST_POLL_MS * 2 ** this.#failures++);
		if (registered) this.#failures = 0;
		this.#timer = setTimeout(() => void this.#poll(), delayMs).unref();
	}

	async #sync(): Promise<boolean> {
		try {
			const { status, body } = await post(this.#url, JSON.stringify({ url: this.#url }), {
				method: 'PUT',
				headers: { 'content-type': 'application/json', 'x-inngest-server-kind': 'dev' },
				signal: AbortSignal.any([this.#closed.signal, AbortSignal.timeout(TIMEOUT_MS)])
			});
			if (status === 200) return this.#confirm();
			this.#problem(`answered ${status}: ${body.toString('utf8').slice(0, 500)}`);
		} catch {
			// Not up yet, or restarting.
		}
		return false;
	}

	#confirm(): boolean {
		this.#lastProblem = '';
		if (this.#isRegistered()) return true;
		this.#warnings.once(
			`The app at ${this.#url} registered somewhere else. Set INNGEST_DEV=1 and INNGEST_BASE_URL to this engine's URL before its Inngest client is created.`
		);
		return false;
	}

	#problem(text: string): void {
		if (text === this.#lastProblem) return;
		this.#lastProblem = text;
		this.#logger.warn(`[inngest dev] The app at ${this.#url} could not be registered: it ${text}`);
	}
}

interface SyncSurroundings {
	warnings: Warnings;
	logger: DevLogger;
	isRegistered: () => boolean;
}
