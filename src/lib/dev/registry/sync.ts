import { post } from '../post.js';
import { printable } from '../printable.js';
import type { DevLogger } from '../types.js';
import { explainStatus } from '../vite/registration.js';
import type { Registry } from './registry.js';

const POLL_MS = 5_000;
const FIRST_POLL_MS = 250;
const TIMEOUT_MS = 30_000;

/**
 * Asks apps to register. Those given to `keep` are asked until they answer, and every 5 seconds from
 * then on, as the real dev server does. Ended by `close()`.
 */
export class AppSync {
	readonly #registry: Registry;
	readonly #logger: DevLogger;
	readonly #closed = new AbortController();
	readonly #problems = new Map<string, string>();
	readonly #timers = new Map<string, NodeJS.Timeout>();
	/** URLs of apps that have registered when they were asked. */
	readonly #known = new Set<string>();

	constructor(registry: Registry, logger: DevLogger) {
		this.#registry = registry;
		this.#logger = logger;
	}

	/** Keeps the app that is served at `url` registered. */
	keep(url: string, failures = 0): void {
		void this.register(url).then((registered) => {
			if (this.#closed.signal.aborted) return;
			// Ask often at first, because the app may just be starting; then less and less often.
			const waitMs = registered ? POLL_MS : Math.min(POLL_MS, FIRST_POLL_MS * 2 ** failures);
			const timer = setTimeout(() => this.keep(url, registered ? 0 : failures + 1), waitMs);
			this.#timers.set(url, timer.unref());
		});
	}

	/** Asks all apps again that have registered when they were asked. */
	refresh(): void {
		for (const url of this.#known) void this.register(url);
	}

	/** Asks the app that is served at `url` once; returns whether it registered here. */
	async register(url: string): Promise<boolean> {
		const { registrations, refusals } = this.#registry;
		const registered = (): boolean => this.#registry.registrations > registrations;
		try {
			const { status, body } = await post(url, JSON.stringify({ url }), {
				method: 'PUT',
				headers: { 'content-type': 'application/json', 'x-inngest-server-kind': 'dev' },
				signal: AbortSignal.any([this.#closed.signal, AbortSignal.timeout(TIMEOUT_MS)])
			});
			if (registered()) {
				this.#problems.delete(url);
				this.#known.add(url);
			}
			// A refusal is already in the log, with more details than the answer has.
			else if (this.#registry.refusals === refusals) {
				this.#problem(url, explain(status, body.toString('utf8')));
			}
		} catch {
			// The app is not up yet, or is restarting.
		}
		return registered();
	}

	close(): void {
		this.#closed.abort();
		for (const timer of this.#timers.values()) clearTimeout(timer);
	}

	#problem(url: string, text: string): void {
		if (this.#problems.get(url) === text || this.#closed.signal.aborted) return;
		this.#problems.set(url, text);
		this.#logger.warn(`[inngest dev] The app at ${url} did not register. ${printable(text)}`);
	}
}

function explain(status: number, text: string): string {
	if (status === 200) {
		return 'It registered somewhere else: set INNGEST_DEV=1 and INNGEST_BASE_URL before its Inngest client is created.';
	}
	return explainStatus(status, text);
}
